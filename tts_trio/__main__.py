"""`python -m tts_trio` runs the command `tts-trio`."""

import sys

from tts_trio.cli import main

sys.exit(main())
