"""`python -m tts_trio` is `tts-trio`."""

import sys

from tts_trio.cli import main

sys.exit(main())
