"""Stand-ins on this machine for the services that capturebot talks to."""
