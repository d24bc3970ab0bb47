"""Huge pages are asked for where a process has to ask, and nowhere else."""

import os
import subprocess
import sys
import types

import jax
import pytest

from pathjax.parallel import allocator

ASKED = {"GLIBC_TUNABLES": allocator.TUNABLE}


@pytest.fixture(autouse=True)
def kernel(tmp_path, monkeypatch):
    """A kernel that gives huge pages when asked, and a C library that asks."""
    file = tmp_path / "enabled"
    file.write_text("always [madvise] never\n")
    monkeypatch.setattr(allocator, "HUGE_PAGES", file)
    monkeypatch.setattr(allocator, "_has_tunable", lambda: True)
    return file


def test_asks_for_huge_pages():
    assert allocator.choose({}).variables == ASKED
    other = {"GLIBC_TUNABLES": "glibc.pthread.rseq=0"}
    expected = f"glibc.pthread.rseq=0:{allocator.TUNABLE}"
    assert allocator.choose(other).variables == {"GLIBC_TUNABLES": expected}


@pytest.mark.parametrize(
    ("environ", "reason"),
    [
        ({"PATHJAX_ALLOCATOR": "0"}, "PATHJAX_ALLOCATOR=0"),
        ({"MALLOC_ARENA_MAX": "2"}, "MALLOC_ARENA_MAX is set"),
        ({"GLIBC_TUNABLES": "glibc.malloc.mmap_max=1"}, "GLIBC_TUNABLES is set"),
        ({"LD_PRELOAD": "/usr/lib/libjemalloc.so.2"}, "LD_PRELOAD is set"),
        (ASKED, allocator.TUNABLE),
    ],
)
def test_leaves_alone_what_the_environment_chose(environ, reason):
    choice = allocator.choose(environ)
    assert not choice.variables and reason in choice.reason


@pytest.mark.parametrize("mode", ["[always] madvise never", "always madvise [never]"])
def test_other_modes_of_the_kernel_need_nothing(kernel, mode):
    kernel.write_text(mode)
    assert not allocator.choose({}).variables
    kernel.unlink()
    assert "cannot read" in allocator.choose({}).reason


@pytest.mark.parametrize(
    ("version", "has"),
    [("glibc 2.35", True), ("glibc 2.34", False), ("musl 1.2", False), (None, False)],
)
def test_versions_of_the_c_library(monkeypatch, version, has):
    monkeypatch.undo()
    monkeypatch.setattr(allocator.os, "confstr_names", {"CS_GNU_LIBC_VERSION": 2})
    monkeypatch.setattr(allocator.os, "confstr", lambda name: version)
    assert allocator._has_tunable() is has
    monkeypatch.setattr(allocator.os, "confstr_names", {})
    assert not allocator._has_tunable()


def test_gives_memory_back_after_long_compilations(monkeypatch):
    trimmed = []
    library = types.SimpleNamespace(malloc_trim=trimmed.append)
    monkeypatch.setattr(allocator.ctypes, "CDLL", lambda name: library)
    allocator.trim_after_compilation.__wrapped__()
    jax.monitoring.record_event_duration_secs(allocator.COMPILED, 0.01)
    assert trimmed == []
    jax.monitoring.record_event_duration_secs(allocator.COMPILED, 5.0)
    assert trimmed == [0]


@pytest.mark.skipif(sys.platform != "linux", reason="replaces a process on Linux")
def test_a_command_restarts_once_and_keeps_its_arguments(kernel):
    """The process asks once, then finds the variable and goes on."""
    script = (
        "import pathlib, sys\n"
        "from pathjax.parallel import allocator\n"
        f"allocator.HUGE_PAGES = pathlib.Path({str(kernel)!r})\n"
        "allocator._has_tunable = lambda: True\n"
        "print('started')\n"
        "allocator.restart_with_huge_pages()\n"
        "print(sys.argv[1:], allocator.choose().reason)\n"
    )
    chosen = ("MALLOC_", "GLIBC_TUNABLES", "LD_PRELOAD", "PATHJAX_ALLOCATOR")
    clean = {k: v for k, v in os.environ.items() if not k.startswith(chosen)}
    done = subprocess.run(
        [sys.executable, "-c", script, "train", "--config.name=a b"],
        capture_output=True,
        text=True,
        check=True,
        env=clean,
    )
    assert done.stdout.splitlines() == [
        "started",
        "started",
        f"['train', '--config.name=a b'] GLIBC_TUNABLES={allocator.TUNABLE}",
    ]
