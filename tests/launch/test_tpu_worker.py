"""launch/tpu_worker.sh as a TPU VM runs it, with a stand-in for pathjax."""

import os
import signal
import time

import pytest
from launch_calls import named

# Ends with 75 on SIGTERM as pathjax does, else with the number in `code` once it is there.
PATHJAX = """
trap 'echo saved; exit 75' TERM
echo "step 1"
until [ -f "$FAKE/code" ]; do sleep 0.02; done
exit "$(cat "$FAKE/code")"
"""


@pytest.fixture
def vm(cluster):
    """A VM with an environment; its programs have another HOME than we."""
    cluster.fake("pathjax", PATHJAX)
    env = cluster.root / "home/pathjax-run/env/bin"
    env.mkdir(parents=True)
    (env / "pathjax").symlink_to(cluster.root / "bin/pathjax")
    cluster.mount = {"PATHJAX_MOUNT": str(cluster.root / "mount")}

    def verb(*words):
        done = cluster.run("tpu_worker.sh", *words, **cluster.mount)
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()

    cluster.verb = verb
    yield cluster
    (cluster.root / "code").write_text("0")  # nothing outlives the test


def until(condition, seconds=20.0):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it did not come to that"
        time.sleep(0.02)


@pytest.mark.slow
def test_training_outlives_the_connection_and_tells_how_it_ended(vm):
    assert vm.verb("status") == "none"
    vm.verb("start", "--config=c.py", "--config.name=a b")
    assert vm.verb("status") == "running"
    assert vm.verb("start", "--config=c.py") == "already running"
    (vm.root / "code").write_text("3")
    until(lambda: vm.verb("status") == "exit 3")
    assert "step 1" in vm.verb("follow")
    (call,) = vm.calls()
    assert call == [
        "pathjax",
        "train",
        "--config=c.py",
        "--config.name=a b",
        "--multihost",
    ]


@pytest.mark.slow
def test_a_signal_reaches_pathjax_and_its_status_is_kept(vm):
    vm.verb("start", "--config=c.py")
    log = vm.root / "home/pathjax-run/log"
    until(lambda: "step 1" in log.read_text())
    os.kill(int((log.parent / "pid").read_text()), signal.SIGTERM)
    until(lambda: vm.verb("status") == "exit 75")
    assert "saved" in vm.verb("follow")


@pytest.mark.slow
def test_a_killed_run_is_lost(vm):
    vm.verb("start", "--config=c.py")
    pid = int((vm.root / "home/pathjax-run/pid").read_text())
    os.killpg(pid, signal.SIGKILL)
    until(lambda: vm.verb("status") == "lost")


@pytest.mark.parametrize(
    ("words", "wanted"),
    [
        (
            ("share", "10.0.0.2:/vol"),
            "sudo mount -t nfs -o hard,rw 10.0.0.2:/vol",
        ),
        (("disk",), "sudo mount -o discard /dev/disk/by-id/google-persistent-disk-1"),
    ],
)
def test_installs_and_mounts(vm, words, wanted):
    for name in ("python3", "sudo"):
        vm.fake(name)
    local = vm.root / "home/.local/bin"
    local.mkdir(parents=True)
    vm.fake("uv")
    (local / "uv").symlink_to(vm.root / "bin/uv")
    vm.verb("install", "p.whl", *words)
    calls = [" ".join(call) for call in vm.calls()]
    assert any(call.startswith(wanted) for call in calls)
    assert any("pip install" in call and "p.whl[tpu,buckets]" in call for call in calls)
    # A disk that has a file system is never formatted.
    assert named(vm.calls(), "mkfs.ext4") == []
