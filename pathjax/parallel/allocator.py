"""Tells the C library to keep memory it was given back, because fresh pages are dear.

A training step takes and returns gigabytes of temporaries. By default glibc maps each
large block anew and unmaps it when freed, so that the kernel zeroes every page again in
every step; on virtual machines that costs as much as the arithmetic. With the settings
here a freed block stays with the process and is used again. The price is a larger peak
(docs/performance.md has both numbers). Only this process is changed, and only CPU
memory; the memory of GPUs and TPUs has allocators of its own.
"""

import ctypes
import dataclasses
import os
from collections.abc import Mapping

# Parameters of mallopt(3), from glibc's <malloc.h>.
SETTINGS = {
    "M_MMAP_MAX": (-4, 0),  # no block is mapped by itself
    "M_TRIM_THRESHOLD": (-1, -1),  # -1: the top of the heap is never given back
    "M_TOP_PAD": (-2, 64 << 20),  # the heap grows by 64 MiB at least
    # Only the main arena's heap can grow without bound; others are mapped piecewise.
    "M_ARENA_MAX": (-8, 1),
}


@dataclasses.dataclass(frozen=True)
class Outcome:
    """Whether the allocator was tuned, and why (not)."""

    tuned: bool
    reason: str


def tune(environ: Mapping[str, str] = os.environ) -> Outcome:
    """Sets glibc's allocator for large temporaries; call it before JAX is imported.

    Later calls change only what is allocated afterwards. Nothing is done, and the
    outcome says why, if PATHJAX_ALLOCATOR is 0, if the environment already chooses an
    allocator or its settings, or if the C library is not glibc (macOS, musl, Windows).
    """
    if environ.get("PATHJAX_ALLOCATOR") == "0":
        return Outcome(False, "PATHJAX_ALLOCATOR=0")
    chosen = _chosen_by_user(environ)
    if chosen:
        return Outcome(False, f"{chosen} is set, which is left as it is")
    libc = _glibc_version()
    if libc is None:
        return Outcome(False, "the C library is not glibc")
    mallopt = ctypes.CDLL(None).mallopt
    refused = [name for name, pair in SETTINGS.items() if mallopt(*pair) != 1]
    if refused:
        return Outcome(False, f"{libc} refused {', '.join(refused)}")
    return Outcome(True, f"mallopt of {libc}: {', '.join(SETTINGS)}")


def _chosen_by_user(environ: Mapping[str, str]) -> str:
    """The variable by which the user chose an allocator or its settings, or ""."""
    for name, value in environ.items():
        if name.startswith("MALLOC_"):
            return name
        if name == "GLIBC_TUNABLES" and "glibc.malloc" in value:
            return name
        if name == "LD_PRELOAD" and "malloc" in value:  # jemalloc, tcmalloc, mimalloc
            return name
    return ""


def _glibc_version() -> str | None:
    """Such as "glibc 2.36"; None where the C library is another."""
    if "CS_GNU_LIBC_VERSION" not in getattr(os, "confstr_names", {}):
        return None
    try:
        return os.confstr("CS_GNU_LIBC_VERSION")
    except (OSError, ValueError):  # musl has the name from its headers, not the value
        return None
