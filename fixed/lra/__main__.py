"""`python -m lra`."""

import sys

from lra.cli import main

if __name__ == "__main__":
    sys.exit(main())
