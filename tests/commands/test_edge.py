"""The edge of the command line: `~`, no home, file errors and Ctrl-C, for all commands."""

import argparse
import errno
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pytest
from made_slides import slide, write_tiff

from pathjax import __main__, cli, files, progress
from pathjax.commands.output import explain


def leaves(parser=None, words=()):
    """(words, parser) of every command."""
    parser = parser or cli.build_parser()
    below = [a for a in parser._actions if isinstance(a, argparse._SubParsersAction)]
    if not below:
        return [(words, parser)]
    return [
        leaf
        for name, inner in below[0].choices.items()
        for leaf in leaves(inner, (*words, name))
    ]


COMMANDS = {" ".join(words): parser for words, parser in leaves()}


def takes_text(action):
    """Whether a value may hold a path: all that are neither numbers nor choices."""
    plain = action.nargs != 0 and not action.choices
    return plain and action.type in (None, str, Path) and action.dest != "help"


def test_there_are_many_commands():
    assert len(COMMANDS) > 25
    assert {"train", "tile", "text embed", "data check", "report"} <= set(COMMANDS)


@pytest.mark.parametrize("command", COMMANDS)
def test_the_home_is_expanded_in_every_option(command, monkeypatch, tmp_path):
    """As `--out=~/x`, which no shell expands, and as a word of its own."""
    monkeypatch.setenv("HOME", str(tmp_path))
    build = cli.build_parser
    seen = []

    def built():
        parser = build()
        (leaf,) = (p for words, p in leaves(parser) if " ".join(words) == command)
        leaf.set_defaults(run=seen.append)
        return parser

    monkeypatch.setattr(cli, "build_parser", built)
    leaf = COMMANDS[command]
    left_out = {  # of options that exclude each other, all but one that takes text
        id(action)
        for group in leaf._mutually_exclusive_groups
        for action in sorted(group._group_actions, key=takes_text)[:-1]
    }
    words, paths = [*command.split()], 0
    for action in leaf._actions:
        if action.dest == "allow_code":  # names a module, which has to exist
            continue
        value = "~/x" if takes_text(action) else "1"
        if action.choices:
            value = str(next(iter(action.choices)))
        if action.nargs == argparse.REMAINDER:
            words += ["--source=~/x"]
        elif not action.option_strings:
            words.append(value)
        elif action.nargs != 0 and id(action) not in left_out:
            words.append(f"{action.option_strings[-1]}={value}")
        else:
            continue
        paths += value == "~/x"
    if getattr(leaf, "_defaults", {}).get("takes_overrides"):
        words += ["--config.study=~/x", "--config.init", "~/x"]
    assert cli.main(words) == 0
    flat = str(vars(seen[0]))
    assert "~" not in flat
    assert flat.count(str(tmp_path / "x")) >= paths


@pytest.mark.parametrize(
    ("word", "expected"),
    [
        ("~/a", "HOME/a"),
        ("~", "HOME"),
        ("--out=~/a b", "--out=HOME/a b"),
        ("--config.init=~/a", "--config.init=HOME/a"),
        ("ours:base@0=~/run", "ours:base@0=HOME/run"),
        ("~/study:main:train", "HOME/study:main:train"),
        ("a~/b", "a~/b"),
        ("x/~/b", "x/~/b"),
        ("--title=a ~ b", "--title=a ~ b"),
        ("./~/b", "./~/b"),
    ],
)
def test_where_the_home_is_expanded(word, expected, monkeypatch):
    monkeypatch.setenv("HOME", "/h")
    assert cli.expand_home([word]) == [expected.replace("HOME", "/h")]


@pytest.fixture
def homeless(monkeypatch, tmp_path):
    """No HOME, and a user id that no table of users has."""
    for name in ("HOME", "XDG_CACHE_HOME", "JAX_COMPILATION_CACHE_DIR"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))

    def unknown(uid):
        raise KeyError(f"getpwuid(): uid not found: {uid}")

    monkeypatch.setattr("pwd.getpwuid", unknown)
    return tmp_path


def test_without_a_home_caches_are_in_a_private_folder(homeless):
    folder = files.cache_folder()
    assert folder.parent == homeless and folder.stat().st_mode & 0o077 == 0
    assert files.cache_folder() == folder
    folder.chmod(0o777)
    with pytest.raises(PermissionError, match="set XDG_CACHE_HOME"):
        files.cache_folder()


def test_without_a_home_a_tilde_is_refused(homeless, capsys):
    assert cli.main(["data", "check", "~/study"]) == 1
    assert "~/study: there is no home directory; set HOME" in capsys.readouterr().err


def test_without_a_home_commands_work(homeless, tiny_study, capsys):
    assert cli.main(["data", "check", str(tiny_study.root)]) == 0
    assert os.environ["JAX_COMPILATION_CACHE_DIR"].startswith(str(homeless))


def closed_to_others(path):
    return any(not part.stat().st_mode & 0o001 for part in Path(path).resolve().parents)


@pytest.mark.skipif(os.getuid() != 0, reason="only root can take another user id")
@pytest.mark.skipif(
    closed_to_others(sys.executable), reason="other users cannot start this Python"
)
def test_an_unknown_user_without_a_home(tiny_study):
    """As in a container that runs with an arbitrary user id."""
    with tempfile.TemporaryDirectory() as folder:  # which others can read
        study = shutil.copytree(tiny_study.root, Path(folder) / "study")
        Path(folder).chmod(0o755)
        done = subprocess.run(
            [sys.executable, "-m", "pathjax", "data", "check", study],
            user=54321,
            env={"PATH": os.environ["PATH"], "JAX_PLATFORMS": "cpu"},
            capture_output=True,
            text=True,
            check=False,
        )
        shutil.rmtree(Path(tempfile.gettempdir()) / "pathjax-cache-54321", True)
    assert done.returncode == 0, done.stderr


def failing(monkeypatch, error):
    """Makes `data check` raise; returns its exit status."""

    def run_check(args):
        raise error

    monkeypatch.setattr("pathjax.commands.data.run_check", run_check)
    return cli.main(["data", "check", "x"])


@pytest.mark.parametrize(
    ("number", "message"),
    [
        (errno.EACCES, "/a/x.h5: permission denied; choose another folder"),
        (errno.EROFS, "/a/x.h5: the file system is read-only; choose another folder"),
        (errno.ENAMETOOLONG, "/a/x.h5: the name is too long; most file systems take"),
        (errno.ENOSPC, "/a/x.h5: no space is left; free some, then run the same"),
        (errno.ENOENT, "/a/x.h5: there is no such file or folder"),
    ],
)
def test_errors_of_files_are_sentences(monkeypatch, capsys, number, message):
    partial = "/a/.partial-12-x.h5"
    assert failing(monkeypatch, OSError(number, os.strerror(number), partial)) == 1
    assert capsys.readouterr().err.startswith(f"pathjax: {message}")


def test_hdf5_errors_are_too(tmp_path):
    import h5py

    with pytest.raises(OSError) as caught:
        h5py.File(tmp_path / "none" / "x.h5", "w")
    name = tmp_path / "none" / "x.h5"
    assert explain(caught.value) == f"{name}: there is no such file or folder"


def test_other_errors_keep_their_words():
    assert explain(ValueError("expected a, got b")) == "expected a, got b"
    assert explain(OSError("half a file")) == "half a file"


def test_a_read_only_place_is_named(tiny_study, capsys):
    """/proc refuses new files, also for root."""
    line = ["data", "show", str(tiny_study.root), "--sheet=/proc/pathjax/x.png"]
    assert cli.main(line) == 1
    text = capsys.readouterr().err
    assert text.startswith("pathjax: /proc/pathjax: ") and len(text.splitlines()) == 2


@pytest.mark.parametrize("stem", ["n" * 251, "\u00e9" * 125 + "n"])
def test_a_name_of_255_bytes_can_be_written(tmp_path, stem):
    final = tmp_path / f"{stem}.txt"
    assert len(os.fsencode(final.name)) == 255
    with files.atomic_path(final) as partial:
        assert partial.suffix == ".txt"
        partial.write_text("whole")
    assert [path.name for path in tmp_path.iterdir()] == [final.name]
    other = tmp_path / f"{stem[:-1]}m.txt"
    with files.atomic_path(final) as one, files.atomic_path(other) as two:
        assert one != two
        one.touch()
        two.touch()


def test_an_interrupt_names_its_stage(monkeypatch, capsys):
    def run_embed(args):
        with progress.stage("embed", 10):
            raise KeyboardInterrupt

    monkeypatch.setattr("pathjax.commands.training.run_embed", run_embed)
    assert cli.main(["embed", "m", "s", "--out=x.h5"]) == 130
    (line,) = capsys.readouterr().err.splitlines()
    assert line == (
        "pathjax: interrupted in the stage 'embed'; run the same command again: it "
        "continues with what is not done"
    )


def test_an_interrupt_outside_of_stages(monkeypatch, capsys):
    assert failing(monkeypatch, KeyboardInterrupt()) == 130
    (line,) = capsys.readouterr().err.splitlines()
    assert line == "pathjax: interrupted; run the same command again: it starts over"


def run_program(program, folder):
    """A Python program in a process of its own, which can import from `folder`."""
    return subprocess.run(
        [sys.executable, "-c", program],
        env=os.environ | {"PYTHONPATH": str(folder)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


@pytest.mark.parametrize("signals", [1, 2])
def test_an_interrupt_during_an_import_waits_for_its_end(tmp_path, signals):
    """Compiled modules turn the exception into a crash; a second Ctrl-C is at once."""
    (tmp_path / "interrupted.py").write_text(
        "import os, signal, time\n"
        "try:\n"
        f"    for _ in range({signals}): os.kill(os.getpid(), signal.SIGINT)\n"
        f"    time.sleep({0.3 if signals == 1 else 60})\n"
        "except BaseException as error:\n"
        "    raise ImportError('initialising') from error\n"
    )
    program = (
        "import sys, time\n"
        "from pathjax import __main__, cli\n"
        "cli.main = lambda: (__import__('interrupted'), time.sleep(60))\n"
        "sys.exit(__main__.main())"
    )
    done = run_program(program, tmp_path)
    assert done.returncode == 130
    assert done.stderr == __main__.MESSAGE


def test_an_interrupt_in_the_last_import_does_not_end_what_is_done(tmp_path):
    """The timer that waits for the import's end is gone before Python's own end."""
    (tmp_path / "interrupted.py").write_text(
        "import os, signal\nos.kill(os.getpid(), signal.SIGINT)\n"
    )
    program = (
        "import atexit, sys, time\n"
        "from pathjax import __main__, cli\n"
        "atexit.register(time.sleep, 0.3)\n"
        "cli.main = lambda: __import__('interrupted') and 0\n"
        "sys.exit(__main__.main())"
    )
    done = run_program(program, tmp_path)
    assert (done.returncode, done.stderr) == (0, "")


def test_the_commands_that_continue_exist():
    names = {parser.get_default("run").__name__ for parser in COMMANDS.values()}
    assert names > cli.CONTINUES


def test_a_reader_that_goes_away_is_no_error(monkeypatch, capsys):
    assert failing(monkeypatch, BrokenPipeError(errno.EPIPE, "Broken pipe")) == 141
    assert capsys.readouterr().err == ""


def interrupt(words, ready, tmp_path):
    """Ctrl-C at a terminal: SIGINT to the whole group once `ready()`; what it says."""
    with open(tmp_path / "output", "w+", encoding="utf-8") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", "pathjax", *words],
            stdout=output,
            stderr=output,
            start_new_session=True,
        )
        try:
            end = time.monotonic() + 120
            while not ready() and process.poll() is None and time.monotonic() < end:
                time.sleep(0.02)
            os.killpg(process.pid, signal.SIGINT)
            status = process.wait(timeout=60)
        finally:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
        output.seek(0)
        return status, output.read()


@pytest.mark.slow
def test_ctrl_c_with_worker_processes(tmp_path):
    """The workers of a build say nothing of their own."""
    out = tmp_path / "study"

    def ready():
        return any(out.rglob("*.array_record*"))

    words = ["data", "demo", f"--out={out}", "--patients=200"]
    status, text = interrupt(words, ready, tmp_path)
    assert status == 130, text
    assert "Traceback" not in text and "KeyboardInterrupt" not in text
    assert text.splitlines()[-1].startswith("pathjax: interrupted")


def test_every_cache_is_below_the_one_folder(monkeypatch, tmp_path):
    from pathjax.datasets.benchmarks import acquire
    from pathjax.text import cache

    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    folder = tmp_path / "pathjax"
    assert acquire.default_cache() == folder / "benchmarks"
    assert cache.default_cache() == folder / "text.sqlite"


@pytest.mark.slow
def test_ctrl_c_with_workers_of_dask(tmp_path):
    (tmp_path / "slides").mkdir()
    for number in range(6):
        pixels = slide(2500, 2500, number)
        write_tiff(tmp_path / "slides" / f"P{number}.tiff", pixels, 0.5, levels=(4,))
    out = tmp_path / "study"
    words = ["tile", f"--slides={tmp_path / 'slides'}", f"--out={out}", "--workers=2"]
    status, text = interrupt(words, lambda: any(out.rglob("*.array_record")), tmp_path)
    assert status == 130, text
    assert "Traceback" not in text and "KeyboardInterrupt" not in text
    assert text.splitlines()[-1].startswith("pathjax: interrupted in the stage 'tile'")
