import tracemalloc

import numpy as np
import pytest
from eval_study import rows_of

from pathjax.evals import EvalError
from pathjax.evals import row_features as module
from pathjax.evals.probes.base import Problem
from pathjax.evals.row_features import bags_of, with_features
from pathjax.evals.rows import fold_rows


def test_samples_are_means_of_their_tiles_in_the_fold(study, features):
    rows = rows_of(study, "sample", "cohort", "test", features)
    wanted = study.samples.iloc[study.fold_samples("cohort", "test")]
    assert list(rows.sample) == list(wanted["sample_id"])
    assert list(rows.patient) == list(wanted["patient_id"])
    for place in (0, 7, len(rows) - 1):
        own = (study.tiles["sample_id"] == rows.sample[place]).to_numpy()
        mean = features[own].mean(axis=0)
        np.testing.assert_allclose(rows.features[place], mean, rtol=1e-6)
        assert rows.slide[place] == study.tiles["slide_id"][own].iloc[0]


def test_means_are_exact_and_summed_some_rows_at_a_time(study, features, monkeypatch):
    wide = np.repeat(features, 400, axis=1)
    whole = rows_of(study, "sample", "cohort", "fit", wide).features
    monkeypatch.setattr(module, "SUMS_AT_ONCE", 3)
    monkeypatch.setattr(module, "ROWS_AT_ONCE", 5)
    rows = fold_rows(study, "sample", "cohort", "fit")
    tracemalloc.start()
    parts = with_features(study, "sample", {"fit": rows}, wide)["fit"].features
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    np.testing.assert_array_equal(parts, whole)
    owner = study.tiles["sample_id"].to_numpy()
    wanted = [wide[owner == one].mean(axis=0, dtype=np.float64) for one in rows.sample]
    np.testing.assert_array_equal(parts, np.array(wanted, np.float32))
    assert peak < 1.5 * parts.nbytes  # sums of all rows in float64 would be 3


def test_tiles_of_other_folds_never_enter(study, features):
    spoilt = features.copy()
    spoilt[study.fold_tiles("sections", "test")] = np.nan
    rows = rows_of(study, "sample", "sections", "fit", spoilt)
    assert np.isfinite(rows.features).all()
    assert set(rows.slide) == set(study.split("sections").folds["fit"])


def test_bags_are_a_samples_own_tiles_thinned_evenly(study, features):
    rows = rows_of(study, "sample", "cohort", "test", features)
    rows = rows.keep(np.arange(len(rows)) % 3 > 0)
    x, ((bags, mask),) = bags_of(study, [rows], features, most=8)
    of = study.tiles["sample_id"].to_numpy()
    for place, sample in enumerate(rows.sample):
        assert mask[place].tolist() == [True, True]
        np.testing.assert_array_equal(x[bags[place]], features[of == sample])
    one, ((numbers, mask),) = bags_of(study, [rows], features, most=1)
    assert mask.all() and numbers.shape[1] == 1
    np.testing.assert_array_equal(one[numbers[:, 0]], x[bags[:, 0]])


def test_a_row_that_is_left_out_is_not_read(study, features):
    spoilt = features.copy()
    spoilt[study.tiles["patient_id"] == "P03"] = np.nan
    rows = fold_rows(study, "sample", "cohort", "fit")
    with pytest.raises(EvalError, match="embeddings are not finite, first sample P03"):
        with_features(study, "sample", {"fit": rows}, spoilt)
    kept = {"fit": rows.keep(rows.patient != "P03")}
    found = with_features(study, "sample", kept, spoilt)["fit"]
    whole = rows_of(study, "sample", "cohort", "fit", features)
    wanted = whole.features[rows.patient != "P03"]
    np.testing.assert_array_equal(found.features, wanted)


def test_fit_and_select_rows_are_joined_without_a_copy(study, features):
    rows = {
        role: fold_rows(study, "tile", "cohort", role)
        for role in ("fit", "select", "test")
    }
    rows = with_features(study, "tile", rows, features)
    labels = {role: np.zeros(len(part)) for role, part in rows.items()}
    joined = Problem(rows, labels).joined("features")
    wanted = np.concatenate([rows["fit"].features, rows["select"].features])
    np.testing.assert_array_equal(joined, wanted)
    assert np.shares_memory(joined, rows["select"].features)
    assert not np.shares_memory(joined, rows["test"].features)
    rows["select"] = rows["select"].keep(np.arange(len(rows["select"])) > 0)
    joined = Problem(rows, labels).joined("features")
    np.testing.assert_array_equal(joined[len(rows["fit"]) :], rows["select"].features)
