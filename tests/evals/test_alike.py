"""One tile of the test fold is a training tile, turned and compressed under another name."""

import json

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from pathjax.cli import main
from pathjax.data.images import encode_jpeg
from pathjax.data.study import Split, Target
from pathjax.data.study_writer import StudyWriter
from pathjax.evals.alike import picture_records
from pathjax.evals.audit import describe
from pathjax.evals.tasks import Task

TASK = Task("t", "twice", "label", "classification", "main", "fit", "test")


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    rng = np.random.default_rng(0)
    small = rng.integers(60, 220, (6, 5, 5, 3), np.uint8)
    tiles = [np.asarray(Image.fromarray(one).resize((64, 64))) for one in small]
    tiles[5] = np.rot90(tiles[1])
    tiles[4] = tiles[2] = np.full((64, 64, 3), 240, np.uint8)  # background is not alike
    writer = StudyWriter(
        tmp_path_factory.mktemp("study"),
        name="twice",
        tile_px=64,
        mpp=1.0,
        gene_id_type="symbol",
        synthetic=True,
        provenance={"source": "tests"},
        build={"version": 1},
    )
    ids = [f"P{number}" for number in range(6)]
    for number, name in enumerate(ids):
        with writer.shard(name) as shard:
            shard.add(
                encode_jpeg(tiles[number], 95 - 5 * number),
                tile_id=f"{name}-0",
                sample_id=name,
                patient_id=name,
                site="S",
                x=0,
                y=0,
                mpp=1.0,
            )
    label = ["a", "b"] * 3
    table = {"sample_id": ids, "patient_id": ids, "site": "S", "label": label}
    return writer.finish(
        samples=pd.DataFrame(table),
        targets=[Target("label", "sample", "class", ("a", "b"))],
        splits=[Split("main", {"fit": tuple(ids[:3]), "test": tuple(ids[3:])})],
    )


def test_the_same_tissue_under_another_name_is_found(study):
    own, trained = picture_records([TASK], [study], ["twice:main:fit"])
    for record in (own, trained):
        assert record["pictures"] == ["P1-0 ~ P5-0"]
        assert record["status"] == "overlap"
    assert "OVERLAP: 1 pictures (P1-0 ~ P5-0)" in describe([own])[0]


def test_the_command_finds_it_where_ids_do_not(study, tmp_path, capsys):
    tasks = tmp_path / "tasks.json"
    keys = ("name", "study", "target", "kind", "split", "fit", "test")
    tasks.write_text(json.dumps([{key: getattr(TASK, key) for key in keys}]))
    words = ["audit", "--tasks", str(tasks), "--study", str(study.root)]
    assert main(words) == 0
    assert main([*words, "--pictures"]) == 1
    assert "1 of 2 overlap" in capsys.readouterr().out
