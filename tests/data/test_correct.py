"""Batch correction: fitted on one fold alone, the same map for all of a batch."""

import anndata
import numpy as np
import pandas as pd
import pytest
from partial import withhold

from pathjax.cli import main
from pathjax.data.check import check_study
from pathjax.data.correct import correct, fit_center, fit_combat
from pathjax.data.study import Study, StudyError
from pathjax.data.study_writer import StudyWriter

BATCHES = np.array(["a"] * 12 + ["b"] * 12 + ["c"] * 6)


@pytest.fixture
def values():
    random = np.random.default_rng(0)
    base = random.normal(5, 1, (30, 40))
    return base + np.repeat(random.normal(size=(3, 40)), [12, 12, 6], axis=0)


def test_centring_moves_each_batch_to_the_common_mean(values):
    made = fit_center(values, BATCHES)
    after = made.apply(values, BATCHES)
    for batch in "abc":
        np.testing.assert_allclose(after[batch == BATCHES].mean(0), values.mean(0))
    np.testing.assert_allclose(made.scale, 1)
    other = made.apply(values[:3], ["z", "a", "z"])
    np.testing.assert_array_equal(other[[0, 2]], values[[0, 2]])
    np.testing.assert_allclose(other[1], after[1])


def test_centring_ignores_what_was_not_measured(values):
    known = np.random.default_rng(1).random(values.shape) > 0.3
    spoilt = np.where(known, values, np.nan)
    made = fit_center(spoilt, BATCHES, known)
    after = made.apply(spoilt, BATCHES, known)
    frame = pd.DataFrame(np.where(known, after, np.nan))
    means = frame.groupby(BATCHES).mean().to_numpy()
    np.testing.assert_allclose(means, np.tile(np.nanmean(spoilt, axis=0), (3, 1)))
    np.testing.assert_array_equal(np.isnan(after), ~known)


@pytest.mark.peer
def test_combat_is_scanpys_and_a_map_of_each_batch(values):
    scanpy = pytest.importorskip("scanpy")
    values[:, 7] = 1.5  # constant
    values[BATCHES == "b", 8] = 0.0  # without counts in a batch
    made = fit_combat(values, BATCHES)
    varies = values.std(axis=0) > 0
    obs = pd.DataFrame({"batch": pd.Categorical(BATCHES)}, [f"s{i}" for i in range(30)])
    table = anndata.AnnData(values[:, varies], obs=obs)
    with np.errstate(divide="ignore"):
        expected = scanpy.pp.combat(table, "batch", inplace=False)
    found = made.apply(values, BATCHES)
    np.testing.assert_allclose(found[:, varies], expected, atol=1e-6)
    np.testing.assert_array_equal(found[:, 7], values[:, 7])
    with pytest.raises(StudyError, match="there is one"):
        fit_combat(values[:12], BATCHES[:12])


@pytest.mark.peer
def test_combat_moves_samples_that_it_was_not_fitted_on(values):
    pytest.importorskip("scanpy")
    fit = np.arange(30) % 3 != 0
    made = fit_combat(values[fit], BATCHES[fit])
    after = made.apply(values, BATCHES)

    def between(part, rows):
        return np.var(
            [part[rows & (b == BATCHES)].mean(0) for b in "abc"], axis=0
        ).mean()

    assert between(after, ~fit) < 0.5 * between(values, ~fit)


OPTIONS = {"method": "center", "batch": "slide", "split": "main", "fit": "train"}


@pytest.fixture(scope="module")
def spots(tmp_path_factory):
    """Four slides of three patients, 16 spots each; the last patient is held out."""
    from pathjax.data.images import encode_jpeg
    from pathjax.data.study import Split

    root = tmp_path_factory.mktemp("spots") / "study"
    writer = StudyWriter(
        root,
        name="spots",
        tile_px=8,
        mpp=1.0,
        gene_id_type="symbol",
        synthetic=True,
        provenance={"source": "tests"},
    )
    tile = encode_jpeg(np.full((8, 8, 3), 200, np.uint8))
    rows = []
    for slide, patient in (("A1", "A"), ("A2", "A"), ("B1", "B"), ("C1", "C")):
        with writer.shard(slide) as shard:
            for i in range(16):
                name = f"{slide}_{i}"
                rows.append((name, patient, "S", slide, i // 4, i % 4))
                shard.add(
                    tile, tile_id=name, sample_id=name, patient_id=patient, site="S"
                )
    columns = ["sample_id", "patient_id", "site", "slide_id", "array_row", "array_col"]
    samples = pd.DataFrame(rows, columns=columns)
    random = np.random.default_rng(0)
    level = dict(zip(samples["slide_id"].unique(), (4, 6, 9, 20), strict=True))
    counts = random.poisson(samples["slide_id"].map(level).to_numpy()[:, None], (64, 6))
    counts = counts.astype(np.float32)
    expression = anndata.AnnData(
        np.log1p(counts),
        obs=pd.DataFrame(index=samples["sample_id"].tolist()),
        var=pd.DataFrame(index=[f"G{i}" for i in range(6)]),
        layers={"counts": counts},
        uns={"pathjax": {"x": "log1p(counts)"}},
    )
    split = Split("main", {"train": ("A", "B"), "test": ("C",)})
    return writer.finish(samples=samples, splits=[split], expression=expression)


def test_only_the_fit_fold_is_fitted_on(spots, tmp_path, monkeypatch):
    kept, _ = correct(spots, tmp_path / "kept", unseen="keep", **OPTIONS)
    spoilt = spots.expression()
    spoilt.X[48:] = 1e9
    monkeypatch.setattr(type(spots), "expression", lambda self: spoilt)
    other, _ = correct(spots, tmp_path / "other", unseen="keep", **OPTIONS)
    monkeypatch.undo()
    np.testing.assert_array_equal(other.expression().X[:48], kept.expression().X[:48])
    np.testing.assert_array_equal(kept.expression().X[48:], spots.expression().X[48:])


def test_the_corrected_study_is_whole_and_says_what_was_done(spots, tmp_path):
    with pytest.raises(StudyError, match=r"1 of 4 slides have no .*'C1'.*--unseen"):
        correct(spots, tmp_path / "no", **OPTIONS)
    made, notes = correct(spots, tmp_path / "new", unseen="center", **OPTIONS)
    assert check_study(made).problems == () and made.name == "spots-center"
    record = made.meta["provenance"]["corrected"]
    assert record["fit"] == {"split": "main", "fold": "train", "samples": 48}
    assert record["batches"] == ["A1", "A2", "B1"]
    assert record["unseen"] == {"batches": ["C1"], "done": "center"}
    assert record["of"]["fingerprint"] == spots.fingerprint != made.fingerprint
    x = made.expression().X.reshape(4, 16, 6).mean(axis=1)
    train = spots.expression().X[:48].mean(axis=0)
    np.testing.assert_allclose(x, np.tile(train, (4, 1)), atol=1e-5)
    assert made.expression().uns["pathjax"]["x"] == (
        "log1p(counts), corrected for slide (center)"
    )
    assert "0.0% after" in notes[1] and "1 batches without fit" in notes[2]
    assert made.tile_bytes([63]) == spots.tile_bytes([63])
    with pytest.raises(StudyError, match="new exists"):
        correct(spots, tmp_path / "new", unseen="center", **OPTIONS)


def test_what_cannot_be_corrected(spots, tmp_path, monkeypatch):
    with pytest.raises(StudyError, match="expected combat, center, got 'mean'"):
        correct(spots, tmp_path / "x", **OPTIONS | {"method": "mean"})
    with pytest.raises(StudyError, match="no fold 'nope'"):
        correct(spots, tmp_path / "x", **OPTIONS | {"fit": "nope"})
    partial = withhold(spots.expression(), spots.samples["sample_id"][:16], ["G1"])
    monkeypatch.setattr(type(spots), "expression", lambda self: partial)
    with pytest.raises(StudyError, match="ComBat needs every gene in every sample"):
        correct(spots, tmp_path / "x", **OPTIONS | {"method": "combat"})
    made, _ = correct(spots, tmp_path / "x", unseen="keep", **OPTIONS)
    monkeypatch.undo()
    assert not made.expression()[:16, "G1"].X.any()
    assert check_study(made).problems == ()


def test_command(spots, tmp_path, capsys):
    out = tmp_path / "out"
    main(["data", "correct", str(spots.root), "--out", str(out), "--method", "center",
          "--batch", "patient", "--split", "main", "--unseen", "keep",
          "--name", "mine"])  # fmt: skip
    said = capsys.readouterr().out
    assert "center by patient: 2 batches, fitted on 48 samples of fold train" in said
    assert Study(out).name == "mine"
