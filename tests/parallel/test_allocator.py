"""The allocator is tuned where it can be, and says why where it cannot."""

import os
import subprocess
import sys

import pytest

from pathjax.parallel import allocator


@pytest.mark.parametrize(
    "environ, reason",
    [
        ({"PATHJAX_ALLOCATOR": "0"}, "PATHJAX_ALLOCATOR=0"),
        ({"MALLOC_ARENA_MAX": "2"}, "MALLOC_ARENA_MAX is set"),
        ({"MALLOC_TRIM_THRESHOLD_": "1"}, "MALLOC_TRIM_THRESHOLD_ is set"),
        ({"GLIBC_TUNABLES": "glibc.malloc.mmap_max=1"}, "GLIBC_TUNABLES is set"),
        ({"LD_PRELOAD": "/usr/lib/libjemalloc.so.2"}, "LD_PRELOAD is set"),
    ],
)
def test_leaves_alone_what_the_user_chose(environ, reason, monkeypatch):
    monkeypatch.setattr(allocator.ctypes, "CDLL", refuse_to_load)
    outcome = allocator.tune(environ)
    assert not outcome.tuned
    assert reason in outcome.reason


def refuse_to_load(name):
    raise AssertionError("the C library was touched")


@pytest.mark.parametrize("error", [ValueError, OSError])
def test_does_nothing_on_another_c_library(error, monkeypatch):
    def confstr(name):
        raise error(name)

    monkeypatch.setattr(allocator.os, "confstr_names", {"CS_GNU_LIBC_VERSION": 2})
    monkeypatch.setattr(allocator.os, "confstr", confstr)
    monkeypatch.setattr(allocator.ctypes, "CDLL", refuse_to_load)
    assert allocator.tune({}) == allocator.Outcome(False, "the C library is not glibc")


def test_does_nothing_where_the_name_is_unknown(monkeypatch):
    monkeypatch.setattr(allocator.os, "confstr_names", {})
    assert not allocator.tune({}).tuned


def test_says_which_setting_was_refused(monkeypatch):
    class Library:
        @staticmethod
        def mallopt(number, value):
            return int(number != allocator.SETTINGS["M_ARENA_MAX"][0])

    monkeypatch.setattr(allocator, "_glibc_version", lambda: "glibc 2.0")
    monkeypatch.setattr(allocator.ctypes, "CDLL", lambda name: Library)
    outcome = allocator.tune({})
    assert outcome == allocator.Outcome(False, "glibc 2.0 refused M_ARENA_MAX")


# Allocates 100 MB by malloc in the same way as XLA does and counts mapped blocks.
MAPPED = """
import ctypes, sys
from pathjax import allocator
outcome = allocator.tune()
libc = ctypes.CDLL(None)
class Info(ctypes.Structure):
    _fields_ = [(name, ctypes.c_size_t) for name in (
        "arena ordblks smblks hblks hblkhd usmblks fsmblks uordblks fordblks keepcost"
    ).split()]
libc.mallinfo2.restype = Info
libc.malloc.restype = libc.realloc.restype = ctypes.c_void_p
libc.malloc.argtypes, libc.free.argtypes = [ctypes.c_size_t], [ctypes.c_void_p]
before = libc.mallinfo2()
block = libc.malloc(100 << 20)
mapped = libc.mallinfo2().hblkhd - before.hblkhd
libc.free(block)
kept = libc.mallinfo2().arena - before.arena
print(outcome.tuned, mapped >> 20, kept >> 20)
"""


@pytest.mark.skipif(
    not (allocator._glibc_version() or "").startswith("glibc 2.")
    or int((allocator._glibc_version() or "glibc 2.0").split(".")[1]) < 33,
    reason="mallinfo2 came with glibc 2.33",
)
def test_large_blocks_stay_with_the_process():
    chosen = ("MALLOC_", "GLIBC_TUNABLES", "LD_PRELOAD", "PATHJAX_ALLOCATOR")
    clean = {k: v for k, v in os.environ.items() if not k.startswith(chosen)}

    def run(**extra):
        done = subprocess.run(
            [sys.executable, "-c", MAPPED],
            capture_output=True,
            text=True,
            check=True,
            env=clean | extra,
        )
        tuned, mapped, kept = done.stdout.split()
        return tuned, int(mapped), int(kept)

    tuned, mapped, kept = run()
    assert (tuned, mapped) == ("True", 0) and kept >= 100
    tuned, mapped, kept = run(PATHJAX_ALLOCATOR="0")
    assert (tuned, kept) == ("False", 0) and mapped >= 100
