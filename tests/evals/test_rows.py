import numpy as np

from pathjax.evals.rows import fold_rows


def test_samples_are_means_of_their_tiles_in_the_fold(study, features):
    rows = fold_rows(study, "sample", "cohort", "test", features)
    wanted = study.samples.iloc[study.fold_samples("cohort", "test")]
    assert list(rows.sample) == list(wanted["sample_id"])
    assert list(rows.patient) == list(wanted["patient_id"])
    for place in (0, 7, len(rows) - 1):
        own = (study.tiles["sample_id"] == rows.sample[place]).to_numpy()
        mean = features[own].mean(axis=0)
        np.testing.assert_allclose(rows.features[place], mean, rtol=1e-6)
        assert rows.slide[place] == study.tiles["slide_id"][own].iloc[0]


def test_tiles_of_other_folds_never_enter(study, features):
    spoilt = features.copy()
    spoilt[study.fold_tiles("sections", "test")] = np.nan
    rows = fold_rows(study, "sample", "sections", "fit", spoilt)
    assert np.isfinite(rows.features).all()
    assert set(rows.slide) == set(study.split("sections").folds["fit"])


def test_tile_rows_and_keep(study, features):
    rows = fold_rows(study, "tile", "cohort", "fit", features)
    np.testing.assert_array_equal(rows.index, study.fold_tiles("cohort", "fit"))
    np.testing.assert_array_equal(rows.features, features[rows.index])
    kept = rows.keep(rows.patient == "P03")
    assert len(kept) == 8 and set(kept.patient) == {"P03"}
    assert list(kept.tiles) == list(rows.tiles)
