"""A lock for what one process at a time may write, on this host or another.

The file names who holds it. Nothing is locked against programs that do not ask.
"""

import contextlib
import datetime
import fcntl
import logging
import os
import socket
from collections.abc import Iterator
from pathlib import Path

log = logging.getLogger(__name__)


@contextlib.contextmanager
def exclusive(path: Path, error: type[Exception], advice: str) -> Iterator[None]:
    """Holds a lock file; the kernel releases it when the process ends, however it ends.

    Args:
      path: The file, in the folder that it locks; made with the folder, and kept.
      error: What to raise.
      advice: What the user can do, the end of the message.

    Raises:
      error: Another process holds it, which is named by process id, host and time.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with open(path, "a+", encoding="utf-8") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as refused:
            file.seek(0)
            raise error(
                f"{path.parent} is in use by another process ({file.read().strip()}): "
                f"{advice}"
            ) from refused
        except OSError as unlocked:  # such as Lustre mounted without flock
            log.warning(
                "%s cannot be locked (%s): a second process in it would not be noticed",
                *(path.parent, unlocked.strerror),
            )
        since = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
        file.truncate(0)
        file.write(f"pid {os.getpid()} on {socket.gethostname()} since {since}\n")
        file.flush()
        yield
