"""`python -m simulators.load`."""

import sys

from simulators.load.cli import main

if __name__ == "__main__":
    sys.exit(main())
