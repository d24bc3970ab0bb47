"""A parent for a process of a run of several, because JAX aborts when process 0 is gone.

    launcher -> supervise() in the parent: waits, passes signals on -> status for launchers
                supervise() in the child: returns, and the command goes on there

JAX's distributed client ends the process by SIGABRT when the coordinator, which runs in
process 0, cannot be reached: in a thread of its own, before Python can speak. So the
parent exits with the status after which launchers start again, if the child has said that
it needs another process: one that aborts for a reason of its own would do so again. It
imports neither JAX nor NumPy, and does not read or write what the child does, which has the
terminal. On Linux only.
"""

import contextlib
import ctypes
import os
import signal
import sys

from pathjax.parallel.preemption import EXIT_PREEMPTED, raise_pending_interrupt

PASSED_ON = frozenset((signal.SIGINT, signal.SIGTERM))
NEEDS, NEEDS_NONE = b"+", b"-"
PR_SET_PDEATHSIG = 1  # linux/prctl.h
ABORTED = (
    f"pathjax: this process was aborted, as JAX does when process 0 of a run is gone: run "
    f"the same command again on all (exit status {EXIT_PREEMPTED})\n"
)
_to_parent: int | None = None  # end of a pipe, in the child


def supervise() -> int | None:
    """Forks; to be called before any thread is started.

    Returns:
      None in the child. In the parent, when the child has ended, the exit status: that of
      the child, 128 + N if signal N ended it, and EXIT_PREEMPTED if that was SIGABRT while
      it needed another process (`needs_another`).
    """
    if sys.platform != "linux":
        return None
    sys.stdout.flush()
    sys.stderr.flush()
    raise_pending_interrupt()  # its timer would not be the child's
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)  # or the child's end could be missed
    global _to_parent
    heard, _to_parent = os.pipe()
    watched = PASSED_ON | {signal.SIGCHLD}
    before = signal.pthread_sigmask(signal.SIG_BLOCK, watched)
    parent, child = os.getpid(), os.fork()
    if child == 0:
        _end_with(parent)
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
        return None
    while not (ended := os.waitpid(child, os.WNOHANG))[0]:
        found = signal.sigwaitinfo(watched)
        # The kernel's own (> 0) is Ctrl-C, which the terminal sends to the child too.
        if found.si_signo in PASSED_ON and found.si_code <= 0:
            os.kill(child, found.si_signo)
    status = os.waitstatus_to_exitcode(ended[1])
    os.set_blocking(heard, False)  # a process of the child's may have the other end
    said = b""
    with contextlib.suppress(BlockingIOError):
        said = os.read(heard, 4096)
    if status == -signal.SIGABRT and said.endswith(NEEDS):
        sys.stderr.write(ABORTED)
        return EXIT_PREEMPTED
    return status if status >= 0 else 128 - status


def needs_another(needs: bool) -> None:
    """Says, in the child, whether JAX may from now on abort as another process is gone."""
    if _to_parent is not None:
        os.write(_to_parent, NEEDS if needs else NEEDS_NONE)


def _end_with(parent: int) -> None:
    """From now on the kernel kills this process when its parent ends, however it ends."""
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:  # it has ended already
        os.kill(os.getpid(), signal.SIGKILL)
