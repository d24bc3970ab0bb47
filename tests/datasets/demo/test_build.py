"""The study as a whole: reproducible, labelled synthetic, sound."""

import numpy as np
import pytest

from pathjax.data.check import check_study
from pathjax.data.images import decode_tile
from pathjax.data.study import StudyError
from pathjax.datasets.demo import build_demo
from pathjax.datasets.demo.latents import MSI, SUBTYPES, TP53, sample_patient

SMALL = {"patients": 40, "tiles_per_patient": 3, "tile_px": 32, "genes": 60}


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    return build_demo(tmp_path_factory.mktemp("demo") / "one", **SMALL, workers=1)


def test_it_is_sound_and_synthetic(study):
    assert check_study(study).problems == ()
    assert study.synthetic and study.name == "demo"
    assert "SYNTHETIC" in study.meta["provenance"]["note"]
    assert all("synthetic" in one.description for one in study.targets.values())
    assert study.reports()["text"].str.contains("ynthetic").all()
    assert study.expression().uns["pathjax"]["synthetic"]
    assert len(study) == 120 and len(study.samples) == 40
    assert len(study.meta["shards"]) == 3


@pytest.mark.slow
def test_workers_and_reruns_give_the_same_bytes(study, tmp_path):
    calls = []
    other = build_demo(
        tmp_path, **SMALL, workers=2, progress=lambda *count: calls.append(count)
    )
    assert other.fingerprint == study.fingerprint
    assert calls == [(0, 120), (48, 120), (96, 120), (120, 120)]
    calls.clear()
    stamps = {path: path.stat().st_mtime_ns for path in tmp_path.glob("tiles/*")}
    again = build_demo(
        tmp_path, **SMALL, workers=1, progress=lambda *count: calls.append(count)
    )
    assert again.fingerprint == study.fingerprint
    assert calls == [(120, 120)]
    assert stamps == {
        path: path.stat().st_mtime_ns for path in tmp_path.glob("tiles/*")
    }


def test_an_interrupted_build_resumes(study, tmp_path):
    def stop(done, total):
        if done > 48:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        build_demo(tmp_path, **SMALL, workers=1, progress=stop)
    assert not (tmp_path / "study.json").exists()
    calls = []
    whole = build_demo(
        tmp_path, **SMALL, workers=1, progress=lambda *count: calls.append(count)
    )
    assert calls == [(96, 120), (120, 120)]
    assert whole.fingerprint == study.fingerprint


def test_patients_are_the_same_in_a_larger_cohort(study, tmp_path):
    large = build_demo(tmp_path, **{**SMALL, "patients": 44}, workers=1)
    assert large.tile_bytes(range(120)) == study.tile_bytes(range(120))
    rows = slice(0, 40)
    np.testing.assert_array_equal(
        large.expression().layers["counts"][rows], study.expression().layers["counts"]
    )
    assert large.samples.iloc[rows].equals(study.samples)


def test_other_parameters_are_refused(study):
    with pytest.raises(StudyError, match="seed"):
        build_demo(study.root, **SMALL, seed=1, workers=1)


def test_tiles_are_jpegs_of_their_size(study):
    for data in study.tile_bytes(range(0, 120, 17)):
        assert decode_tile(data).shape == (32, 32, 3)


def test_expression_is_as_the_contract_says(study):
    expression = study.expression()
    counts = np.asarray(expression.layers["counts"], np.float64)
    total = counts.sum(axis=1, keepdims=True)
    expected = np.log1p(counts / total * 1e4)
    np.testing.assert_allclose(expression.X, expected, rtol=1e-5)
    assert expression.X.dtype == np.float32 and expression.n_vars == 60
    assert list(expression.obs_names) == study.samples["sample_id"].tolist()
    assert expression.uns["pathjax"]["x"] == "log1p(counts per 10,000)"


def test_labels_are_the_latents(study):
    samples = study.samples
    cohort = [sample_patient(0, number) for number in range(40)]
    missing = 0
    for column, names, flag in (
        ("tp53", TP53, "tp53"),
        ("subtype", SUBTYPES, "basal"),
        ("msi", MSI, "msi"),
    ):
        for value, one in zip(samples[column], cohort, strict=True):
            if isinstance(value, str):
                assert value == names[getattr(one, flag)]
            else:
                missing += 1
    assert 0 < missing < 15
    assert samples["purity"].tolist() == [one.purity for one in cohort]
    assert samples["grade"].tolist() == [float(one.grade) for one in cohort]
    assert samples["cancer_type"].value_counts().tolist() == [10] * 4
    assert 28 <= len(study.reports()) < 40


def test_splits_are_disjoint(study):
    assert study.split_names == ("cohort", "sites")
    for name in study.split_names:
        folds = study.split(name).folds
        rows = [study.fold_samples(name, fold) for fold in folds]
        joint = np.concatenate(rows)
        assert len(joint) == len(set(joint.tolist())) == 40
    sites = study.split("sites").folds
    codes = [{one.split("-")[1] for one in ids} for ids in sites.values()]
    assert sum(map(len, codes)) == len(set.union(*codes))


def test_wrong_parameters_are_all_named_at_once(tmp_path):
    with pytest.raises(ValueError) as caught:
        build_demo(tmp_path, patients=5, tile_px=8, mpp=9, genes=3, seed=-1, workers=0)
    for word in ("patients 5", "tile_px 8", "mpp 9", "genes 3", "seed -1", "workers 0"):
        assert word in str(caught.value)
    assert not any(tmp_path.iterdir())
