"""Run by test_bucket.py: `pathjax train` as on a machine of its own, with its own cache."""

import os
import sys

from pathjax import cli

if __name__ == "__main__":
    number = next(word for word in sys.argv if word.startswith("--process="))
    os.environ["XDG_CACHE_HOME"] = f"{os.environ['CACHES']}-{number[-1]}"
    sys.exit(cli.main(sys.argv[1:]))
