"""A fold as arrays: who owns which tiles, and on which scale."""

import numpy as np
import pytest

from pathjax.data.expression import fit_panel
from pathjax.data.samples import gather
from pathjax.data.study import StudyError
from pathjax.data.text_store import TextEmbeddings, TextError, Texts, fit_text


def panel_of(study, genes=5):
    ids = study.samples["sample_id"].to_numpy()
    train = ids[study.fold_samples("main", "train")]
    return fit_panel(study.expression(), list(train), genes)


def test_each_sample_owns_its_tiles(tiny_study):
    samples = gather(tiny_study, "main", "train")
    assert len(samples) == 8
    for i in range(8):
        owners = tiny_study.tiles["sample_id"].iloc[samples.tiles_of(i)]
        assert set(owners) == {tiny_study.samples["sample_id"].iloc[samples.row[i]]}
        assert len(owners) == 6
    rows = samples.tile_rows.to_array()
    assert sorted(rows) == list(tiny_study.fold_tiles("main", "train"))
    assert samples.slides(tiny_study) == [
        f"P{i:02d}{s}" for i in range(8) for s in "ab"
    ]


def test_tiles_as_samples(tiny_study):
    samples = gather(tiny_study, "main", "val", unit="tile")
    assert len(samples) == 12
    assert [len(samples.tiles_of(i)) for i in range(12)] == [1] * 12
    assert len(set(samples.pair_id)) == 2  # two patients


def test_expression_is_on_the_training_scale(tiny_study):
    panel = panel_of(tiny_study)
    train = gather(tiny_study, "main", "train", panel=panel, counts=True)
    np.testing.assert_allclose(train.expression.mean(0), 0, atol=1e-5)
    raw = tiny_study.expression()
    ids = tiny_study.samples["sample_id"].to_numpy()[train.row]
    counts = raw[list(ids)].layers["counts"]
    genes = raw.var_names.get_indexer(panel.genes)
    for name, wanted in (("counts", counts[:, genes]), ("library", counts.sum(1))):
        np.testing.assert_array_equal(getattr(train, name), wanted)


def test_samples_without_expression_are_refused_or_dropped(
    tiny_study, monkeypatch, caplog
):
    panel = panel_of(tiny_study)
    fewer = tiny_study.expression()[2:].copy()
    monkeypatch.setattr(type(tiny_study), "expression", lambda self: fewer)
    with pytest.raises(StudyError, match=r"2 of 8 samples have no expression.*P00"):
        gather(tiny_study, "main", "train", panel=panel)
    with caplog.at_level("INFO"):
        kept = gather(tiny_study, "main", "train", panel=panel, drop_unpaired=True)
    assert "2 of 8 samples of fold train of tiny have no expression and" in caplog.text
    names = tiny_study.samples["sample_id"].to_numpy()
    assert list(names[kept.row]) == [f"P{i:02d}" for i in range(2, 8)]
    assert len(kept.expression) == len(kept) == 6
    owners = tiny_study.tiles["sample_id"].iloc[kept.tiles_of(0)]
    assert set(owners) == {"P02"}
    assert kept.slides(tiny_study)[:2] == ["P02a", "P02b"]
    tiles = gather(
        tiny_study, "main", "train", unit="tile", panel=panel, drop_unpaired=True
    )
    owners = tiny_study.tiles["sample_id"].iloc[tiles.tile_rows.to_array()]
    assert len(tiles) == 6 * 6 and set(owners) == set(names[kept.row])


def test_a_tile_of_no_sample_is_named(tiny_study, monkeypatch):
    monkeypatch.setitem(tiny_study.__dict__, "samples", tiny_study.samples.iloc[1:])
    with pytest.raises(
        StudyError, match="belong to sample 'P00', which samples.parquet"
    ):
        gather(tiny_study, "main", "train")


def test_unknown_options_and_folds(tiny_study):
    with pytest.raises(StudyError, match="unit: expected sample or tile, got 'slide'"):
        gather(tiny_study, "main", "train", unit="slide")
    with pytest.raises(StudyError, match="no fold 'nope'"):
        gather(tiny_study, "main", "nope")


def texts_of(names, train):
    random = np.random.default_rng(0)
    values = random.normal(size=(len(names), 3)).astype(np.float32)
    meta = {"backend": "tfidf", "model": "svd"}
    made = TextEmbeddings(list(names), values, meta)
    return Texts(made, fit_text(made, train))


def test_with_text_samples_may_lack_either(tiny_study, monkeypatch):
    names = tiny_study.samples["sample_id"].to_numpy()
    train = list(names[tiny_study.fold_samples("main", "train")])
    panel = panel_of(tiny_study)
    texts = texts_of([names[0], *names[2:5], names[11]], train)
    # P00 to P02 without expression: P01 has nothing, P00 and P02 have text.
    fewer = tiny_study.expression()[3:].copy()
    monkeypatch.setattr(type(tiny_study), "expression", lambda self: fewer)
    found = gather(tiny_study, "main", "train", panel=panel, texts=texts)
    assert list(names[found.row]) == ["P00", *(f"P{i:02d}" for i in range(2, 8))]
    assert list(found.has_text) == [True, True, True, True, False, False, False]
    assert list(found.has_expression) == [False, False, *[True] * 5]
    wanted = texts.scale.normalise(texts.embeddings.values[:4])
    np.testing.assert_allclose(found.text[:4], wanted, rtol=1e-6)
    assert not found.text[4:].any() and not found.expression[:2].any()
    alone = gather(
        tiny_study, "main", "train", panel=panel, texts=texts, drop_unpaired=True
    )
    assert list(names[alone.row]) == [f"P{i:02d}" for i in range(3, 8)]
    np.testing.assert_array_equal(alone.expression, found.expression[2:])
    # A fold in which none has a text is no error; a study is.
    held = gather(
        tiny_study, "main", "val", panel=panel, texts=texts_of(names[:4], train)
    )
    assert not held.has_text.any() and held.has_expression.all()


def test_texts_of_another_study_are_refused(tiny_study):
    texts = texts_of(["X1", "X2", "X3"], ["X1", "X2"])
    with pytest.raises(TextError, match="none of 12 samples"):
        gather(tiny_study, "main", "train", panel=panel_of(tiny_study), texts=texts)
