"""One process at a time, which is named; free again when it ends."""

import errno
import os
import socket

import pytest

from pathjax.parallel.lock import exclusive


def test_the_second_is_refused_with_the_name_of_the_first(tmp_path):
    path = tmp_path / "work" / ".lock"
    with exclusive(path, ValueError, "wait for it"):
        with pytest.raises(ValueError, match="wait for it") as refused:
            exclusive(path, ValueError, "wait for it").__enter__()
        assert f"{path.parent} is in use by another process" in str(refused.value)
        who = f"pid {os.getpid()} on {socket.gethostname()} since 20"
        assert who in str(refused.value)
    with exclusive(path, ValueError, ""):
        assert path.read_text().count("pid") == 1


def test_a_folder_that_cannot_be_locked_is_said(tmp_path, monkeypatch, caplog):
    def flock(*_):
        raise OSError(errno.ENOSYS, "Function not implemented")

    monkeypatch.setattr("pathjax.parallel.lock.fcntl.flock", flock)
    with exclusive(tmp_path / ".lock", ValueError, ""):
        assert "a second process in it would not be noticed" in caplog.text
