"""The bench of the index, on a small one."""

import json

import pytest

from pathjax.bench import run_bench
from pathjax.bench.index import BAR_BYTES, measure
from pathjax.bench.index_study import IndexOptions, build, slide_table
from pathjax.bench.options import BenchError
from pathjax.data.check import check_study
from pathjax.data.study import Study

SMALL = IndexOptions(patients=12, slides=15, tiles=20, tile_px=16, batch=4, count=1)


def test_its_study_is_a_whole_one(tmp_path):
    built = build(tmp_path / "study", SMALL)
    study = Study(tmp_path / "study")
    assert built["rows"] == len(study) == 300
    assert check_study(study).problems == ()
    shards = sorted((study.root / "tiles").iterdir())
    assert len(shards) == 15 and all(one.samefile(shards[0]) for one in shards)
    assert study.slides["patient_id"].value_counts().tolist() == [2] * 3 + [1] * 9
    assert slide_table(SMALL)["slide_id"].is_unique


def test_what_makes_no_study_is_refused():
    with pytest.raises(BenchError, match="one or two slides for each patient"):
        measure(IndexOptions(patients=10, slides=30))
    with pytest.raises(BenchError, match="a batch of them needs as many"):
        measure(IndexOptions(patients=100, slides=100, batch=200))


@pytest.mark.slow
def test_the_command_reads_a_kept_study_again(tmp_path, capsys):
    options = [
        f"--config.{name}={getattr(SMALL, name)}"
        for name in ("patients", "slides", "tiles", "tile_px", "batch", "count")
    ]
    options.append(f"--config.folder={tmp_path / 'study'}")
    run_bench("index", False, None, options)
    assert "an index of 300 tiles" in capsys.readouterr().out
    run_bench("index", False, tmp_path / "index.json", options)
    found = json.loads((tmp_path / "index.json").read_text())
    assert found["built"] is None and found["met"]
    assert 0 < found["opened"]["total"] < found["opened"]["process_seconds"]
    opened = found["opened"]
    assert 0 < opened["gathered_bytes"] <= opened["peak_bytes"] < BAR_BYTES
    assert opened["batch_bytes"] == 4 * 8 * 16 * 16 * 3
    assert str(tmp_path) not in json.dumps(found)
