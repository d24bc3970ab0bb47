import json

import anndata
import h5py
import numpy as np
import pandas as pd
import pytest
import scipy.stats
from extras import extra

from pathjax.cli import main
from pathjax.data.images import decode_tile
from pathjax.data.study import Study, StudyError
from pathjax.datasets.hest_bench import build_hest_bench
from pathjax.embeddings.handcrafted import tile_features
from pathjax.evals.suites import load_tasks

decomposition = extra("sklearn.decomposition")
linear_model = extra("sklearn.linear_model")
pipeline = extra("sklearn.pipeline")
preprocessing = extra("sklearn.preprocessing")

GENES = [f"G{i}" for i in range(5)]


def make(root, samples=("T1", "T2", "T3"), spots=40):
    """A task of three samples whose genes follow the colour of the patch."""
    for folder in ("splits", "patches", "adata"):
        (root / folder).mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(0)
    paths = pd.DataFrame(
        {
            "sample_id": samples,
            "patches_path": [f"patches/{name}.h5" for name in samples],
            "expr_path": [f"adata/{name}.h5ad" for name in samples],
        }
    )
    for name in samples:
        level = rng.integers(60, 200, spots)
        noise = rng.integers(0, 30, (spots, 32, 32, 3))
        patches = (level[:, None, None, None] + noise).astype(np.uint8)
        codes = [f"{name}AAA{i}" for i in range(spots)]
        with h5py.File(root / "patches" / f"{name}.h5", "w") as file:
            file["img"] = patches
            file["coords"] = np.zeros((spots, 2), int)
            file["barcode"] = np.array(codes, "S")[:, None]
        rates = np.column_stack([level * (i + 1) / 20 for i in range(6)])
        # Spots off the tissue have no patch, and rows are in another order.
        order = rng.permutation(spots)
        counts = rng.poisson(rates).astype(np.float32)[order]
        adata = anndata.AnnData(
            np.concatenate([counts, counts[:2]]),
            obs=pd.DataFrame(index=[codes[i] for i in order] + ["off1", "off2"]),
            var=pd.DataFrame(index=[*GENES, f"only{name}"]),
        )
        adata.write_h5ad(root / "adata" / f"{name}.h5ad")
    for k, name in enumerate(samples):
        inside = paths["sample_id"] == name
        paths[inside].to_csv(root / "splits" / f"test_{k}.csv", index=False)
        paths[~inside].to_csv(root / "splits" / f"train_{k}.csv", index=False)
    (root / "var_50genes.json").write_text(json.dumps({"genes": GENES}))


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    root = tmp_path_factory.mktemp("bench") / "IDC"
    make(root)
    return root


@pytest.fixture(scope="module")
def study(source, tmp_path_factory):
    out = tmp_path_factory.mktemp("study") / "idc"
    assert main(["data", "hest-bench", "--source", str(source), "--out", str(out)]) == 0
    return Study(out)


def test_patches_and_counts_are_kept_as_they_are(source, study):
    assert study.name == "IDC" and study.mpp == 0.5 and study.tile_px == 32
    expression = study.expression()
    for name in ("T1", "T3"):
        with h5py.File(source / "patches" / f"{name}.h5") as file:
            patches, codes = file["img"][:], np.ravel(file["barcode"][:]).astype(str)
        rows = np.flatnonzero(study.tiles["slide_id"] == name)
        tiles = [decode_tile(data) for data in study.tile_bytes(rows)]
        np.testing.assert_array_equal(tiles, patches)
        adata = anndata.read_h5ad(source / "adata" / f"{name}.h5ad")
        ours = expression[[f"{name}_{code}" for code in codes], GENES]
        np.testing.assert_array_equal(
            ours.layers["counts"].toarray(), adata[codes, GENES].X
        )
        np.testing.assert_allclose(
            ours.X.toarray(), np.log1p(adata[codes, GENES].X), rtol=1e-6
        )
    assert study.split("hest").folds == {
        "fold0": ("T1",), "fold1": ("T2",), "fold2": ("T3",)
    }  # fmt: skip


def test_its_task_gives_the_benchmarks_number(study, tmp_path):
    """HEST's recipe by scikit-learn: log1p, scaling, PCA of all 18 features, ridge."""

    path = str(study.root / "task.json")
    (task,) = load_tasks(path)
    assert task.problems(study) == []
    words = ["evaluate", "colours=handcrafted", "--tasks", path, "--study"]
    assert main([*words, str(study.root), "--out", str(tmp_path / "results")]) == 0
    text = (tmp_path / "results" / "results.json").read_text()
    (row,) = json.loads(text)["entries"]
    features = tile_features(study)
    values = np.log1p(
        study.expression()[study.tiles["sample_id"], GENES].layers["counts"].toarray()
    )
    owners = study.tiles["slide_id"].to_numpy()
    scores = []
    for name in ("T1", "T2", "T3"):
        fit, test = owners != name, owners == name
        pipe = pipeline.make_pipeline(
            preprocessing.StandardScaler(),
            decomposition.PCA(min(256, features.shape[1])),
        )
        train = pipe.fit_transform(features[fit])
        alpha = 100 / (train.shape[1] * len(GENES))
        ridge = linear_model.Ridge(alpha=alpha, fit_intercept=False).fit(
            train, values[fit]
        )
        predicted = ridge.predict(pipe.transform(features[test]))
        pairs = zip(predicted.T, values[test].T, strict=True)
        scores.append(np.mean([scipy.stats.pearsonr(a, b)[0] for a, b in pairs]))
    assert row["value"] == pytest.approx(np.mean(scores), abs=2e-3)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda root: (root / "var_50genes.json").unlink(), "var_50genes.json"),
        (lambda root: (root / "splits/train_1.csv").unlink(), "train_1.csv cannot be"),
        (
            lambda root: (root / "patches/T2.h5").write_bytes(b""),
            "T2.h5 cannot be read",
        ),
        (lambda root: (root / "adata/T2.h5ad").unlink(), "T2.h5ad does not exist"),
        (
            lambda root: (root / "var_50genes.json").write_text('{"genes": ["X1"]}'),
            "lacks 1 genes of the task, first X1",
        ),
        (
            lambda root: (root / "splits/train_0.csv").write_bytes(
                (root / "splits/train_1.csv").read_bytes()
            ),
            "split 0 trains on T1, T3 and tests on T1: expected every sample",
        ),
    ],
)
def test_broken_tasks_say_so(tmp_path, change, message):
    make(tmp_path / "IDC", spots=3)
    change(tmp_path / "IDC")
    with pytest.raises(StudyError, match=message):
        build_hest_bench(tmp_path / "IDC", tmp_path / "out", progress=lambda *_: None)


def test_another_folder_is_refused(tmp_path):
    with pytest.raises(StudyError, match="expected a task of HEST-bench"):
        build_hest_bench(tmp_path, tmp_path / "out", progress=lambda *_: None)
