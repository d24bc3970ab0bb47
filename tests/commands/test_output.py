"""Addresses of buckets as arguments: taken by some commands, refused by the others."""

import argparse

import pytest
from made_bucket import another_machine, empty_store

from pathjax import cli
from pathjax.buckets import cache, store
from pathjax.commands.output import explain, use_addresses


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


def test_a_report_from_and_into_a_bucket(tmp_path, capsys):
    table = tmp_path / "table.csv"
    from pathlib import Path

    poster = Path(__file__).parents[2] / "docs/data/poster.csv"
    table.write_bytes(poster.read_bytes())
    store.upload(table, "faulty://b/in/table.csv")
    assert (
        cli.main(["report", "faulty://b/in/table.csv", "--out", "faulty://b/out"]) == 0
    )
    written = [name.rsplit("/", 1)[1] for name in store.listing("faulty://b/out")]
    assert "table.md" in written
    assert "faulty://b/out/table.md" in capsys.readouterr().out
