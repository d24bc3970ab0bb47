"""Huge pages for large blocks of host memory, because page faults are expensive.

On a CPU a training step takes its temporaries as one block of gigabytes and gives it
back: with pages of 4 KiB the kernel maps and zeroes 600,000 of them in every step, a
quarter of the step's time; with huge pages (2 MiB) 1,200. glibc asks the kernel for them
if `glibc.malloc.hugetlb=1` is set when a process starts, so the command line restarts
itself once with that variable. docs/performance.md has the measurements. GPUs and TPUs
have allocators of their own.
"""

import ctypes
import dataclasses
import functools
import os
import sys
from collections.abc import Mapping
from pathlib import Path

from pathjax.parallel.preemption import raise_pending_interrupt

TUNABLE = "glibc.malloc.hugetlb=1"
SINCE = (2, 35)  # first glibc with the tunable
# "always [madvise] never": only in the mode "madvise" has a process to ask.
HUGE_PAGES = Path("/sys/kernel/mm/transparent_hugepage/enabled")
COMPILED = "/jax/core/compile/backend_compile_duration"
LONG_SECONDS = 0.2  # a shorter compilation leaves little memory behind


@dataclasses.dataclass(frozen=True)
class Choice:
    """Environment variables to set before a process starts, and the reason, for logs."""

    variables: Mapping[str, str]
    reason: str


def choose(environ: Mapping[str, str] = os.environ) -> Choice:
    """Decides whether a process with this environment should ask for huge pages.

    Nothing is set if PATHJAX_ALLOCATOR is 0, if the environment already chooses an
    allocator or its settings, if the C library is not glibc 2.35 or later, or if the
    kernel gives huge pages unasked or never.
    """
    tunables = environ.get("GLIBC_TUNABLES", "")
    reason = ""
    if environ.get("PATHJAX_ALLOCATOR") == "0":
        reason = "PATHJAX_ALLOCATOR=0"
    elif TUNABLE in tunables:
        reason = f"GLIBC_TUNABLES={TUNABLE}"
    elif name := _set_by_user(environ):
        reason = f"{name} is set and left as it is"
    elif not _has_tunable():
        reason = "the C library is not glibc 2.35 or later"
    else:
        try:
            modes = HUGE_PAGES.read_text(encoding="utf-8")
            if "[madvise]" not in modes:
                reason = f"transparent huge pages are set to {modes.strip()!r}"
        except OSError as error:
            reason = f"cannot read {HUGE_PAGES}: {error.strerror}"
    if reason:
        return Choice({}, reason)
    value = f"{tunables}:{TUNABLE}" if tunables else TUNABLE
    return Choice({"GLIBC_TUNABLES": value}, f"GLIBC_TUNABLES={TUNABLE}")


def restart_with_huge_pages() -> None:
    """Replaces this process by itself with `choose`'s variables, if there are any.

    Same command, process id and open files. To be called before anything is started or
    imported that takes time.
    """
    variables = choose().variables
    if variables and sys.executable:
        sys.stdout.flush()
        sys.stderr.flush()
        os.environ.update(variables)
        raise_pending_interrupt()  # its timer would outlive its handler
        os.execv(sys.executable, [sys.executable, *sys.orig_argv[1:]])


@functools.cache  # once a process
def trim_after_compilation() -> None:
    """From now on gives freed memory back to the system after each long compilation.

    The compiler frees hundreds of megabytes in small blocks, which glibc would keep.
    """
    import jax

    libc = ctypes.CDLL(None) if os.name == "posix" else None
    trim = getattr(libc, "malloc_trim", None)
    if trim is not None:  # glibc

        def compiled(event: str, seconds: float, **info) -> None:
            if event == COMPILED and seconds >= LONG_SECONDS:
                trim(0)

        jax.monitoring.register_event_duration_secs_listener(compiled)


def _set_by_user(environ: Mapping[str, str]) -> str:
    """The variable by which the user chose an allocator or its settings, or ""."""
    for name, value in environ.items():
        if (
            name.startswith("MALLOC_")
            or (name == "GLIBC_TUNABLES" and "glibc.malloc" in value)
            or (name == "LD_PRELOAD" and "malloc" in value)  # jemalloc, tcmalloc, ...
        ):
            return name
    return ""


def _has_tunable() -> bool:
    if "CS_GNU_LIBC_VERSION" not in getattr(os, "confstr_names", {}):
        return False  # macOS, Windows
    try:
        name, _, version = (os.confstr("CS_GNU_LIBC_VERSION") or "").partition(" ")
    except (OSError, ValueError):  # musl has the name from its headers, not the value
        return False
    return name == "glibc" and tuple(map(int, version.split(".")[:2])) >= SINCE
