"""`python -m bot` is `capturebot`."""

import sys

from bot.cli import main

sys.exit(main())
