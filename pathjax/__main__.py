"""`python -m pathjax` is `pathjax`."""

import sys

from pathjax.cli import main

sys.exit(main())
