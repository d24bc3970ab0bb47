"""`pathjax`, and `python -m pathjax`: the command line, which takes a moment to import."""

import os
import signal
import sys
from types import FrameType

MESSAGE = "pathjax: interrupted before it started\n"


def main() -> int:
    """Runs the command of this process; returns the exit status."""
    try:
        signal.signal(signal.SIGINT, interrupt)
        from pathjax import cli

        return cli.main()
    except KeyboardInterrupt:
        sys.stderr.write(MESSAGE)
        return 130


def interrupt(number: int, frame: FrameType | None) -> None:
    """Ends the process at once during an import, where libraries crash of an exception.

    Raises:
      KeyboardInterrupt: anywhere else.
    """
    while frame is not None:
        if frame.f_code.co_filename.startswith("<frozen importlib"):
            os.write(2, MESSAGE.encode())
            os._exit(130)
        frame = frame.f_back
    raise KeyboardInterrupt


if __name__ == "__main__":  # worker processes import this module again
    sys.exit(main())
