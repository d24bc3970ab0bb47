"""Bags of tiles by slide table and by tile table: the same draws, of the same patients.

Embeddings that are the rows' own numbers say which tiles a batch is made of.
"""

import json

import numpy as np
import pandas as pd
import pytest

from pathjax.data.pipeline import TrainLoader, eval_batches, train_batches
from pathjax.data.samples import gather
from pathjax.data.study import Split, Study
from pathjax.data.study_tables import OWNERS, runs_of_slides, runs_of_tiles
from pathjax.data.study_writer import StudyWriter
from pathjax.data.transforms import Augment
from pathjax.parallel.slice import Slice

PATIENTS = 9


def build(root, seed, with_table):
    """Slides of unequal size, those of a patient not beside one another."""
    random = np.random.default_rng(seed)
    slides = [f"P{p}-{k}" for p in range(PATIENTS) for k in range(1 + p % 3)]
    random.shuffle(slides)
    writer = StudyWriter(root, name="bags", tile_px=16, mpp=0.5, synthetic=True)
    for slide in slides:
        ids = {"sample_id": slide[:2], "patient_id": slide[:2], "site": "s"}
        with writer.shard(slide) as shard:
            for k in range(random.integers(1, 12)):
                shard.add(b"", tile_id=f"{slide}.{k}", x=k, **ids)
    names = [f"P{p}" for p in range(PATIENTS)]
    table = pd.DataFrame({"slide_id": slides, "patient_id": [s[:2] for s in slides]})
    missing = ("path", "reason", "width", "height", "mpp", "mpp_source", "tissue")
    table = table.assign(
        sample_id=table["patient_id"],
        site="s",
        status="tiled",
        **dict.fromkeys(missing),
    )
    return writer.finish(
        samples=pd.DataFrame({"sample_id": names, "patient_id": names, "site": "s"}),
        splits=[
            Split("s", {"train": tuple(names[:6]), "test": tuple(names[6:])}),
            Split(
                "sections",
                {"train": tuple(slides[::2]), "test": tuple(slides[1::2])},
                unit="slide_id",
                shared_patients=shared(slides),
            ),
        ],
        slides=table if with_table else None,
    )


def shared(slides):
    return tuple(sorted({s[:2] for s in slides[::2]} & {s[:2] for s in slides[1::2]}))


@pytest.fixture(scope="module", params=[0, 1, 2])
def studies(request, tmp_path_factory):
    root = tmp_path_factory.mktemp("bags")
    return [build(root / str(form), request.param, form) for form in (True, False)]


@pytest.fixture
def no_tile_table(monkeypatch):
    """A study that has a slide table must not read its tile table."""

    whole = Study.__dict__["tiles"].func

    def tiles(self):
        assert not self.has_slide_table, "the tile table was read"
        return whole(self)

    monkeypatch.setattr(Study, "tiles", property(tiles))


def batches(study, samples, seed=0):
    features = np.arange(len(study), dtype=np.float32)[:, None]
    return train_batches(
        study,
        samples,
        batch=3,
        tiles=4,
        image_px=16,
        options=Augment(),
        seed=seed,
        features=features,
    )


@pytest.mark.parametrize("split", ["s", "sections"])
@pytest.mark.parametrize("unit", ["sample", "tile"])
def test_both_forms_draw_the_same_tiles(studies, split, unit, no_tile_table):
    whole = [gather(study, split, "train", unit=unit) for study in studies]
    for name in ("starts", "row", "pair_id"):
        np.testing.assert_array_equal(*[getattr(one, name) for one in whole])
    np.testing.assert_array_equal(*[one.tile_rows.to_array() for one in whole])
    assert whole[0].slides(studies[0]) == whole[1].slides(studies[1])
    by_slide, by_tile = map(batches, studies, whole)
    for _ in range(5):
        a, b = next(by_slide), next(by_tile)
        assert all(np.array_equal(a[key], b[key]) for key in a)


def test_runs_of_both_tables_are_equal(studies):
    wanted = runs_of_tiles([studies[1].tiles])
    pd.testing.assert_frame_equal(runs_of_slides(studies[0].slides), wanted)
    ends = wanted["first_row"] + wanted["tiles"]
    for run, end in zip(wanted.itertuples(), ends, strict=True):
        part = studies[1].tiles.iloc[run.first_row : end]
        assert all(set(part[name]) == {getattr(run, name)} for name in OWNERS)


@pytest.mark.parametrize("split", ["s", "sections"])
def test_no_draw_crosses_patients_or_folds(studies, split, no_tile_table):
    by_slide, by_tile = studies
    samples = gather(by_slide, split, "train")
    allowed = set(by_slide.fold_tiles(split, "train").tolist())
    owner = by_tile.tiles["patient_id"].to_numpy()
    iterator = batches(by_slide, samples)
    for _ in range(20):
        batch = next(iterator)
        rows = batch["embedding"][..., 0].astype(int)
        wanted = by_slide.samples["patient_id"].to_numpy()[batch["sample"]]
        assert (owner[rows] == wanted[:, None]).all()
        assert set(rows.ravel().tolist()) <= allowed
    for batch in eval_batches(
        by_slide,
        samples,
        batch=4,
        tiles=3,
        image_px=16,
        features=np.arange(len(by_slide))[:, None],
    ):
        rows = batch["embedding"][..., 0][batch["mask"]]
        wanted = by_slide.samples["patient_id"].to_numpy()[batch["sample"]]
        assert (owner[rows] == wanted[batch["mask"]][:, None]).all()


def test_an_epoch_sees_each_patient_once(studies):
    samples = gather(studies[0], "s", "train")
    iterator = batches(studies[0], samples)
    for _ in range(3):
        seen = [next(iterator)["sample"] for _ in range(2)]  # 6 patients by 3
        assert sorted(np.concatenate(seen)) == list(range(6))


def test_tiles_of_a_patient_are_uniform(studies):
    """Each tile of a patient equally often, whatever its slide.

    Chi-squared of 400 epochs of 4 draws; without repeats counts vary less than in
    independent draws, so that the bound of 6 sigma is on the safe side.
    """
    study = studies[0]
    samples = gather(study, "s", "train")
    loader = TrainLoader(
        study,
        samples,
        batch=6,
        tiles=4,
        image_px=16,
        options=Augment(),
        seed=0,
        part=Slice(),
        features=np.arange(len(study)),
    )
    epochs = 400
    drawn = [loader(epoch, np.arange(6))["embedding"] for epoch in range(epochs)]
    counts = np.bincount(np.concatenate(drawn).ravel(), minlength=len(study))
    assert counts.sum() == epochs * 6 * 4
    for sample in range(6):
        own = counts[samples.tiles_of(sample)]
        assert own.sum() == epochs * 4
        freedom = len(own) - 1
        chi = ((own - own.mean()) ** 2 / own.mean()).sum()
        assert chi <= freedom + 6 * np.sqrt(2 * freedom)


def test_a_position_resumes_exactly(studies, no_tile_table):
    study = studies[0]
    samples = gather(study, "s", "train")
    iterator = batches(study, samples)
    for _ in range(3):
        next(iterator)
    state = json.loads(json.dumps(iterator.get_state()))
    again = batches(study, samples)
    again.set_state(state)
    for _ in range(4):
        a, b = next(iterator), next(again)
        assert all(np.array_equal(a[key], b[key]) for key in a)


def test_a_tile_is_named_without_the_tile_table(studies, no_tile_table):
    ids = pd.read_parquet(studies[0].root / "tiles.parquet")["tile_id"]
    for row in (0, 3, len(ids) - 1):
        assert studies[0].tile_id(row) == ids.iloc[row]
