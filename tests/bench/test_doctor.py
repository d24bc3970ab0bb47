"""`pathjax doctor`: findings about made environments."""

import importlib.metadata
import re

import pytest
from packaging.requirements import Requirement

from pathjax.bench import doctor
from pathjax.cli import main


def states(findings):
    return [(finding.what, finding.state) for finding in findings]


def test_a_sound_installation_has_all_that_the_package_needs():
    assert states(doctor._versions()) == [("versions", "ok")]


@pytest.mark.parametrize(
    ("requirement", "problem"),
    [
        ("numpy>=2", ""),
        ("numpy<1", "numpy is .*, expected <1"),
        ("no-such-package>=1", "no-such-package is missing"),
        ("jax[cuda12]", "jax-cuda12-plugin.* is missing"),
    ],
)
def test_requirements(requirement, problem):
    found = doctor._problem(Requirement(requirement))
    assert (found == "") == (problem == "")
    assert re.search(problem, found)


def test_a_wrong_version_fails_by_name(monkeypatch):
    real = importlib.metadata.version
    monkeypatch.setattr(
        importlib.metadata, "version", lambda n: "0.1" if n == "jax" else real(n)
    )
    first, _ = doctor._versions()
    assert first.state == "fail"
    assert "jax is 0.1, expected" in first.text


def test_a_missing_package_fails_by_name(monkeypatch):
    real = importlib.metadata.version

    def version(name):
        if name == "optax":
            raise importlib.metadata.PackageNotFoundError(name)
        return real(name)

    monkeypatch.setattr(importlib.metadata, "version", version)
    first, second = doctor._versions()
    assert (first.state, second.state) == ("fail", "ok")
    assert "optax is missing" in first.text
    assert "optax" not in second.text


def test_memory(monkeypatch):
    files = {"/proc/meminfo": ["MemAvailable: 2000000 kB"]}
    monkeypatch.setattr(doctor, "_lines", lambda path: files.get(path, []))
    assert next(doctor._memory()).state == "fail"
    files["/proc/meminfo"] = ["MemAvailable: 3000000 kB"]
    assert next(doctor._memory()).state == "note"
    files["/proc/meminfo"] = ["MemAvailable: 30000000 kB"]
    files["/sys/fs/cgroup/memory.max"] = ["2000000000"]
    assert next(doctor._memory()).state == "fail"


def test_a_container_limits_the_cores(monkeypatch):
    files = {"/sys/fs/cgroup/cpu.max": ["50000 100000"]}
    monkeypatch.setattr(doctor, "_lines", lambda path: files.get(path, []))
    assert "limited to 0.5 by the container" in next(doctor._threads()).text


def test_disk(tmp_path, monkeypatch):
    monkeypatch.setattr(doctor, "PROBE_BYTES", 1 << 16)
    assert [what for what, _ in states(doctor._disk(tmp_path))] == ["disk", "disk"]
    assert list(tmp_path.iterdir()) == []
    assert states(doctor._disk(tmp_path / "none")) == [("disk", "fail")]
    monkeypatch.setattr(
        doctor.shutil, "disk_usage", lambda folder: type("Usage", (), {"free": 1 << 30})
    )
    assert next(doctor._disk(tmp_path)).state == "fail"


def test_tokens_and_keys_are_not_shown(monkeypatch):
    monkeypatch.setenv("HF_TOKEN", "hf_secret")
    monkeypatch.setenv("OPENAI_API_KEY", "sk-secret")
    text = str(list(doctor._access()))
    assert "secret" not in text
    assert "OPENAI_API_KEY is set" in text


def test_a_gpu_that_jax_does_not_see_fails(monkeypatch):
    monkeypatch.delenv("JAX_PLATFORMS", raising=False)
    monkeypatch.setattr(doctor.Path, "exists", lambda path: str(path) == "/dev/nvidia0")
    assert ("devices", "fail") in states(doctor._devices())


def test_a_check_that_breaks_is_a_failure(monkeypatch, tmp_path):
    def broken():
        raise OSError("no /proc")

    for name in ("_versions", "_extras", "_memory", "_rates"):
        monkeypatch.setattr(doctor, name, lambda: iter(()))
    monkeypatch.setattr(doctor, "_cache", broken)
    monkeypatch.setattr(doctor, "PROBE_BYTES", 1 << 16)
    assert ("check", "fail") in states(doctor.examine(tmp_path))


def test_the_command(monkeypatch, tmp_path, capsys):
    monkeypatch.setattr(doctor, "PROBE_BYTES", 1 << 16)
    monkeypatch.setattr(doctor, "SIDE", 64)
    assert main(["doctor", "--folder", str(tmp_path / "none")]) == 1
    out = capsys.readouterr().out
    assert "FAIL" in out
    assert "would fail" in out.splitlines()[-1]
    assert "GFLOP/s" in out
