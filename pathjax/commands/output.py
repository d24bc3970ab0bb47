"""Options of several commands, messages at the end of commands, and errors as sentences."""

import argparse
import errno
import re
from collections.abc import Iterable
from pathlib import Path

from pathjax.buckets import is_address, local, shown

# Commands whose paths may be addresses of a bucket, by function; others refuse them.
TAKE_ADDRESSES = frozenset(
    ("run_train", "run_embed", "run_evaluate", "run_audit", "run_report", "run_predict")
    + ("run_robustness", "run_export", "run_plan", "run_check", "run_show")
)
LOCAL_ONLY = ("cache", "compilation_cache", "sheet", "overlay")  # of these commands

FILE_ERRORS = {
    errno.EACCES: "permission denied; choose another folder, or change who may write",
    errno.EPERM: "permission denied; choose another folder, or change who may write",
    errno.EROFS: "the file system is read-only; choose another folder",
    errno.ENAMETOOLONG: "the name is too long; most file systems take 255 bytes",
    errno.ENOSPC: "no space is left; free some, then run the same command again",
    errno.EDQUOT: "the quota is used up; free some, then run the same command again",
    errno.ENOENT: "there is no such file or folder",
    errno.EEXIST: "a file of this name is in the way; choose another name",
    errno.ENOTDIR: "a part of the path is a file, not a folder",
    errno.EISDIR: "expected a file, got a folder",
}


def explain(error: BaseException) -> str:
    """An error in one sentence; those of the operating system name file and remedy."""
    return shown(_explained(error))


def _explained(error: BaseException) -> str:
    if not isinstance(error, OSError):
        return str(error)
    name, number, text = error.filename, error.errno, str(error)
    if name is None and (hdf5 := re.search(r"name = '(.*?)', errno = (\d+)", text)):
        name, number = hdf5[1], int(hdf5[2])
    if name is None or number not in FILE_ERRORS:
        return text
    # The name of a partial file is not the user's.
    name = re.sub(r"\.partial-\d+-(?=[^/]*$)", "", str(name))
    return f"{name}: {FILE_ERRORS[number]}"


def use_addresses(args: argparse.Namespace) -> None:
    """Replaces addresses of buckets among the arguments by the paths of their copies.

    Those in texts, such as NAME=ADDRESS, are left to whoever reads the text.

    Raises:
      ValueError: The command or the option takes local paths only.
    """
    for name, value in vars(args).items():
        values = value if isinstance(value, list | tuple) else [value]
        found = [one for one in values if isinstance(one, str | Path)]
        found = [one for one in found if is_address(str(one).rpartition("=")[2])]
        if not found:
            continue
        takes = getattr(args.run, "__name__", "") in TAKE_ADDRESSES
        # The parts of other shards have to be seen.
        several = ("shard", "multihost", "coordinator")
        shared = name == "out" and any(getattr(args, key, None) for key in several)
        if not takes or name in LOCAL_ONLY or shared:
            raise ValueError(
                f"{found[0]}: expected a local path here, got an address of a bucket: "
                "copy from or to it yourself; docs/buckets.md lists what takes addresses"
            )
        if isinstance(value, Path):
            setattr(args, name, local(value))
        elif isinstance(value, list):
            paths = [local(one) if isinstance(one, Path) else one for one in value]
            setattr(args, name, paths)


def print_study(study, notes: Iterable[str]) -> None:
    """The notes of a command that wrote a study, and which study it is."""
    for note in notes:
        print(note)
    print(f"{study.root}: study {study.name}, fingerprint {study.fingerprint}")


def add_allow_code(parser: argparse.ArgumentParser) -> None:
    """Which modules files may name; cli.py imports them."""
    parser.add_argument(
        "--allow-code",
        nargs="+",
        default=[],
        metavar="MODULE",
        help="Python modules that a model or results file may take objectives and "
        "metrics from; only name those that you trust",
    )


def add_shard(parser: argparse.ArgumentParser, part: str) -> None:
    """Which part of the work to do, for array jobs (parallel/shard.py)."""
    parser.add_argument(
        "--shard",
        metavar="K/N",
        help=f"do part K of N, from 1, of the {part}, for array jobs; the same command "
        "without it joins the parts (docs/multihost.md)",
    )


def remember_defaults(parser: argparse.ArgumentParser, names: Iterable[str]) -> None:
    """Keeps the defaults of options that not every call uses, for `refuse_unused`."""
    parser.set_defaults(defaults={name: parser.get_default(name) for name in names})


def refuse_unused(args: argparse.Namespace, names: Iterable[str], why: str) -> None:
    """Refuses options that were given and that this call would ignore.

    Raises:
      ValueError: Names them, with `why`.
    """
    given = [name for name in names if getattr(args, name) != args.defaults[name]]
    if given:
        words = ", ".join(f"--{name.replace('_', '-')}" for name in given)
        raise ValueError(f"{words} would not be used: {why}")


def print_built(study) -> None:
    """Prints the size of a built study, and what was skipped with reasons."""
    print(
        f"{study.root}: {len(study)} tiles, {len(study.samples)} samples"
        + (", synthetic" if study.synthetic else "")
    )
    print_skipped(study.meta["skipped"], study.root / "study.json")


def print_skipped(skipped, where: Path) -> None:
    """Prints the first ten skipped items with their reasons; `where` has all of them."""
    for item in skipped[:10]:
        print(f"skipped {item['what']}: {item['reason']}")
    if len(skipped) > 10:
        print(f"... and {len(skipped) - 10} more, see {where}")
