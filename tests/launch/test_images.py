"""launch/Dockerfile and build_image.sh; no image is built here."""

import re
import runpy
import sys
from pathlib import Path
from types import ModuleType

import pytest

LAUNCH = Path(__file__).parents[2] / "launch"


@pytest.fixture(scope="module")
def lines():
    text = (LAUNCH / "Dockerfile").read_text(encoding="utf-8")
    return re.sub(r"\\\n\s*", "", text).splitlines()


def told(lines, word):
    return [line.split()[1:] for line in lines if line.split()[:1] == [word]]


def test_the_base_is_pinned_and_the_user_is_nobody_special(lines):
    (base,) = [line for line in lines if line.startswith("ARG BASE=")]
    assert re.fullmatch(r"ARG BASE=python:3\.1[123](\.\d+)?-slim-\w+", base)
    assert [words[0] for words in told(lines, "FROM")] == ["${BASE}", "${BASE}"]
    assert told(lines, "USER") == [["pathjax"]]
    last = max(number for number, line in enumerate(lines) if line.startswith("RUN"))
    assert lines.index("USER pathjax") > last


def test_what_is_copied_is_there_and_not_ignored(lines):
    copied = [
        name
        for words in told(lines, "COPY")
        if not words[0].startswith("--from")
        for name in words[:-1]
    ]
    root = LAUNCH.parent
    assert [name for name in copied if not (root / name).exists()] == []
    rules = (LAUNCH / "Dockerfile.dockerignore").read_text(encoding="utf-8").split()
    assert {rule[1:] for rule in rules if rule[0] == "!"} == {*copied}


def test_the_kinds_are_extras_of_the_package(monkeypatch):
    found = {}
    stub = ModuleType("setuptools")
    stub.setup, stub.find_packages = found.update, lambda include: []
    monkeypatch.setitem(sys.modules, "setuptools", stub)
    monkeypatch.setattr(stub, "setup", lambda **told: found.update(told))
    runpy.run_path(str(LAUNCH.parent / "setup.py"))
    assert {"buckets", "cuda", "tpu"} <= found["extras_require"].keys()


@pytest.mark.parametrize(
    ("kind", "extras"), [("cpu", "buckets"), ("tpu", "tpu,buckets")]
)
def test_builds_and_pushes(cluster, kind, extras):
    cluster.fake("docker")
    done = cluster.run("build_image.sh", kind, "--tag=r/p:1", "--push")
    assert done.returncode == 0, done.stderr
    built, pushed = cluster.calls()
    assert built[:2] == ["docker", "build"] and f"EXTRAS={extras}" in built
    assert built[-1] == str(LAUNCH.parent)
    assert pushed == ["docker", "push", "r/p:1"]


def test_dry_run_and_wrong_lines_call_nothing(cluster):
    cluster.fake("docker")
    done = cluster.run("build_image.sh", "cuda", "--dry-run")
    assert done.returncode == 0 and "docker build" in done.stdout
    for words in ((), ("rocm",), ("cpu", "--push")):
        assert cluster.run("build_image.sh", *words).returncode == 2
    assert cluster.calls() == []
