"""`pathjax`, and `python -m pathjax`: the command line, which takes a moment to import."""

import os
import signal
import sys
from types import FrameType

MESSAGE = "pathjax: interrupted; run the same command again\n"
AGAIN = 0.05  # seconds until an interrupt that came during an import is looked at again
_waiting = False


def main() -> int:
    """Runs the command of this process; returns the exit status."""
    try:
        signal.signal(signal.SIGINT, interrupt)
        from pathjax import cli

        return cli.main()
    except KeyboardInterrupt:
        sys.stderr.write(MESSAGE)
        return 130
    finally:  # Python's end, like `exec`, removes the handler but not the timer
        signal.setitimer(signal.ITIMER_REAL, 0)


def interrupt(number: int, frame: FrameType | None) -> None:
    """Waits for the end of an import, in which compiled libraries crash of an exception.

    A second signal ends the process at once.

    Raises:
      KeyboardInterrupt: outside of imports.
    """
    global _waiting
    if _waiting and number == signal.SIGINT:
        os.write(2, MESSAGE.encode())
        os._exit(130)
    _waiting = False
    while frame is not None:
        if frame.f_code.co_filename.startswith("<frozen importlib"):
            _waiting = True
            signal.signal(signal.SIGALRM, interrupt)
            signal.setitimer(signal.ITIMER_REAL, AGAIN)
            return
        frame = frame.f_back
    raise KeyboardInterrupt


if __name__ == "__main__":  # worker processes import this module again
    sys.exit(main())
