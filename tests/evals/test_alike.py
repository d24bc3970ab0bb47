"""A training tile, turned and compressed, and a slide tiled anew, under other names."""

import dataclasses
import json

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from slide_copies import cut

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
    (line,) = describe([own])[:-1]
    assert "OVERLAP: 1 pictures (P1-0 ~ P5-0)" in line
    assert line.endswith(
        "3 of 3 tested slides of twice not compared as a whole: fewer than 30 tiles with positions"
    )


def test_the_command_finds_it_where_ids_do_not(study, tmp_path, capsys):
    tasks = tmp_path / "tasks.json"
    keys = ("name", "study", "target", "kind", "split", "fit", "test")
    tasks.write_text(json.dumps([{key: getattr(TASK, key) for key in keys}]))
    words = ["audit", "--tasks", str(tasks), "--study", str(study.root)]
    assert main(words) == 0
    assert main([*words, "--pictures"]) == 1
    assert "1 of 2 overlap" in capsys.readouterr().out


def section(seed):
    """A made section with a ragged edge, 400 px across, on glass."""
    rng = np.random.default_rng(seed)
    coarse, fine = (
        Image.fromarray(rng.integers(30, 120, (side, side), np.uint8)).resize(
            (400, 400)
        )
        for side in (20, 200)
    )
    y, x = np.mgrid[-1:1:400j, -1:1:400j]
    wave = np.sin(np.arctan2(y, x) * rng.integers(2, 5) + rng.uniform(0, 6))
    grey = np.asarray(coarse) + np.asarray(fine)
    grey[np.hypot(x, y) > 0.8 + 0.1 * wave] = 245
    return np.repeat(grey[..., None], 3, axis=-1)


def sections(root, name, slides):
    """A study of sections tiled by `cut`: (patient, seed, options of `cut`)."""
    writer = StudyWriter(root, name=name, tile_px=9, mpp=1.0, synthetic=True)
    ids = [patient for patient, _, _ in slides]
    for patient, seed, options in slides:
        with writer.shard(patient) as shard:
            xy, grey = cut(section(seed), 18, share=0, **options)
            for (x, y), tile in zip(xy.astype(int).tolist(), grey, strict=True):
                if tile.mean() < 230:
                    shard.add(
                        encode_jpeg(np.repeat(tile[..., None], 3, -1).astype(np.uint8)),
                        tile_id=f"{patient}-{x}-{y}",
                        sample_id=patient,
                        x=x,
                        y=y,
                        patient_id=patient,
                        site="S",
                    )
    table = {"sample_id": ids, "patient_id": ids, "site": "S", "label": ["a", "b"] * 2}
    return writer.finish(
        samples=pd.DataFrame(table),
        targets=[Target("label", "sample", "class", ("a", "b"))],
        splits=[Split("main", {"fit": tuple(ids[:2]), "test": tuple(ids[2:])})],
    )


def test_a_slide_tiled_anew_under_another_name_is_found(tmp_path):
    anew = {"size": 1.4, "shift": (0.4, 0.7), "turn": True}
    slides = [("A", 1, {}), ("B", 2, {}), ("C", 3, {}), ("D", 2, anew)]
    study = sections(tmp_path / "one", "sections", slides)
    other = sections(
        tmp_path / "two", "others", [(f"X{seed}", seed, {}) for seed in (4, 3, 5, 6)]
    )
    task = dataclasses.replace(TASK, study="sections")
    own, trained = picture_records([task], [study, other], ["others:main:fit"])
    assert own["slide_pictures"] == own["beyond"] == ["B ~ D"]
    assert own["pictures"] == own["not_compared"] == []
    assert "OVERLAP: 1 slides that look alike (B ~ D)" in describe([own])[0]
    assert trained["slide_pictures"] == ["X3 ~ C"]
    (itself,) = picture_records([task], [study], ["sections:main:test"])[1:]
    assert itself["slide_pictures"] == []
