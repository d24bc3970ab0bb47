"""`python -m pathjax` is `pathjax`."""

import sys

from pathjax.cli import main

if __name__ == "__main__":  # worker processes import this module again
    sys.exit(main())
