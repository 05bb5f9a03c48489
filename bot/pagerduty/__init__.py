"""PagerDuty: its REST API as far as capturebot needs it."""
