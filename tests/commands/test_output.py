"""Addresses of buckets as arguments: taken by some commands, refused by the others."""

import argparse
import json
from pathlib import Path

import pytest
from made_bucket import Faulty, another_machine, bucket_server, empty_store
from made_model import made_model

from pathjax import cli
from pathjax.buckets import cache, store
from pathjax.commands.output import explain, use_addresses
from pathjax.models.model_file import save_model


@pytest.fixture(autouse=True)
def machine(tmp_path, monkeypatch):
    empty_store()
    return another_machine(tmp_path / "cache", monkeypatch)


def parsed(words):
    args = cli.parse(words.split())
    use_addresses(args)
    return args


def test_addresses_become_paths_of_copies(machine):
    args = parsed("report faulty://b/one local --out faulty://b/report")
    assert args.out == machine / "faulty/b/report"
    assert [str(path) for path in args.results] == [
        str(machine / "faulty/b/one"),
        "local",
    ]
    args = parsed("evaluate a=faulty://b/run --tasks demo --study faulty://b/s --out o")
    assert args.models == ["a=faulty://b/run"]  # whoever reads the text does it
    assert args.study == [machine / "faulty/b/s"]
    config = "--config.study=faulty://b/s"
    args = parsed(f"train --config=demo.py --workdir=faulty:///b/run {config}")
    assert args.rest == [config] and args.workdir == machine / "faulty/b/run"


@pytest.mark.parametrize(
    "words",
    [
        "tile --slides faulty://b/slides --out study",
        "tile --slides slides --out s3://b/study",
        "data split s3://b/study --name s --fractions a=1",
        "data build demo --out gs://b/study",
        "demo --out gs://b/demo",
        "import vit --out gs://b/model",
        "sweep --out gs://b/sweep --config=demo.py --grid optim.lr=1,2 --tasks demo --study s",
        "bench step --out gs://b/x.json",
        "train --config=demo.py --workdir=w --compilation-cache gs://b/c",
        "embed m study --out gs://b/x.h5 --shard 1/2",
        "data show study --sheet gs://b/sheet.png",
    ],
)
def test_what_takes_no_address_says_so(words, machine):
    args, _ = cli.build_parser().parse_known_args(words.split())
    args.rest = []
    with pytest.raises(ValueError, match=r"expected a local path here, got an address"):
        use_addresses(args)
    assert not list(machine.rglob("*"))


def test_a_web_address_is_none():
    args = argparse.Namespace(run=print, base_url="https://host/v1", out="x")
    use_addresses(args)
    assert args.base_url == "https://host/v1"


def test_errors_name_the_address(capsys):
    error = FileNotFoundError(2, "", str(cache.copy_of("faulty://b/out/x.json")))
    assert explain(error) == "faulty://b/out/x.json: there is no such file or folder"
    assert cli.main(["report", "faulty://b/nothing"]) == 1
    assert "faulty://b/nothing/results.json does not exist" in capsys.readouterr().err


def test_a_report_from_and_into_a_bucket(capsys):
    poster = Path(__file__).parents[2] / "docs/data/poster.csv"
    store.upload(poster, "faulty://b/in/table.csv")
    assert (
        cli.main(["report", "faulty://b/in/table.csv", "--out", "faulty://b/out"]) == 0
    )
    written = [name.rsplit("/", 1)[1] for name in store.listing("faulty://b/out")]
    assert "table.md" in written
    assert "faulty://b/out/table.md" in capsys.readouterr().out


COMMANDS = """embed {}run {}study --out {}tuned.h5
evaluate a={}run --tasks tasks.json --study {}study --out {}results
audit --train {}study:main:train --tasks tasks.json --study {}study --out {}audit.json
report {}results --html
predict {}run {}study --out {}predicted
export {}run --format npz --out {}exported --results {}results
data check {}study"""
TASK = {"name": "g", "target": "group", "kind": "classification", "study": "tiny"}


@pytest.fixture(params=["faulty", "gs"])
def bucket(request, machine, monkeypatch):
    """Its address, and the operations that were asked of it."""
    asked = []
    if request.param == "gs":
        with bucket_server("gs", monkeypatch) as server:
            yield "gs://bkt", server.asked
    else:
        Faulty.fault = staticmethod(lambda operation, key: asked.append(operation))
        yield "faulty://b", asked


@pytest.mark.slow
def test_commands_write_the_same_files_from_another_machine_each(
    bucket, tiny_study, tmp_path, monkeypatch, capsys
):
    bucket, asked = bucket
    monkeypatch.chdir(tmp_path)
    (tmp_path / "study").symlink_to(tiny_study.root)
    save_model(tmp_path / "run", made_model(tiny_study, "regression"))
    task = TASK | {"split": "main", "fit": "train", "test": "test"}
    (tmp_path / "tasks.json").write_text(json.dumps([task]))
    for name in tiny_study.root, tmp_path / "run":
        folder = "run" if name.name == "run" else "study"
        for path in name.rglob("*"):
            if path.is_file():
                there = path.relative_to(name).as_posix()
                store.upload(path, f"{bucket}/{folder}/{there}")
    for number, command in enumerate(COMMANDS.splitlines()):
        assert cli.main(command.replace("{}", "").split()) == 0
        capsys.readouterr()
        copies = another_machine(tmp_path / f"cache{number}", monkeypatch)
        assert cli.main(command.replace("{}", f"{bucket}/").split()) == 0
        told = capsys.readouterr()
        assert "buckets/files" not in told.out + told.err
    assert copies.exists()
    files = (
        path.relative_to(tmp_path) for path in tmp_path.rglob("*") if path.is_file()
    )
    here = {
        path.as_posix()
        for path in files
        if not path.parts[0].startswith(("cache", "tasks")) and path.name[0] != "."
    }
    there = {name.removeprefix(f"{bucket}/") for name in store.listing(bucket)}
    assert {name for name in there if not name.startswith("study/")} == here
    for name in here:  # the caches of two machines are of no use to a third
        assert b"buckets/files" not in store.read(f"{bucket}/{name}")
    before = len(asked)
    again = COMMANDS.splitlines()[1].replace("{}", f"{bucket}/")
    assert cli.main(again.split()) == 0
    assert not [one for one in asked[before:] if one.startswith(("put", "POST"))]
