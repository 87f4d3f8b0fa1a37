"""`python -m pixelcam` is the `pixelcam` command."""

import sys

from pixelcam.cli import main

if __name__ == "__main__":
    sys.exit(main())
