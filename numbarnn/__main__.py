"""``python -m numbarnn``: the main job."""

import sys

from .demo.command import main

if __name__ == "__main__":
    sys.exit(main())
