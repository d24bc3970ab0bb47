"""A panel of genes beside a whole transcriptome: built, checked, trained, evaluated."""

import numpy as np
import pytest
from made_visium import counts, density, spots, write_h5, write_visium
from tiny_study import config_for

from pathjax.cli import main
from pathjax.data.add_split import add_split
from pathjax.data.measured import is_partial
from pathjax.data.study import Split, Study
from pathjax.evals.run import run_task
from pathjax.evals.tasks import Task
from pathjax.train.telemetry.metric_writer import read_metrics
from pathjax.train.trainer import train

PANEL = [3, 9, 12, 29]  # genes of the second sample


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    root = tmp_path_factory.mktemp("pair")
    for seed, name in enumerate(("whole", "panel", "held")):
        folder = write_visium(root / name, seed)
        if name == "panel":
            barcodes, _, xy = spots()
            matrix = counts(density(seed), xy, seed)[:, PANEL]
            ids = [f"ENSG{i:011d}" for i in PANEL]
            names = [f"GENE{i}" for i in PANEL]
            write_h5(folder / "filtered_feature_bc_matrix.h5", matrix, barcodes,
                     ids, names)  # fmt: skip
    out = root / "study"
    samples = [str(root / name) for name in ("whole", "panel", "held")]
    options = ["--genes-join", "outer", "--normalise", "log1p_cp10k_shared"]
    sizes = ["--tile-px", "16", "--tile-um", "100"]
    main(["data", "spatial", *samples, "--out", str(out), *options, *sizes])
    split = Split("main", {"train": ("whole", "panel"), "val": ("held",)})
    return add_split(Study(out), split)[0]


@pytest.mark.slow
@pytest.mark.parametrize(
    "options",
    [
        {"objective.name": "regression", "objective.loss": "pearson"},
        {"objective.name": "regression", "objective.loss": "negative_binomial"},
        {"data.pair_by": "sample_id"},
    ],
    ids=["regression", "counts", "contrastive"],
)
def test_a_panel_and_a_transcriptome_train_together(study, tmp_path, options):
    expression = study.expression()
    assert is_partial(expression) and expression.n_vars == 30
    assert main(["data", "check", str(study.root)]) == 0
    values = {
        "val_fold": "val",
        "eval.every": 3,
        "data.genes": 20,
        "data.tiles": 1,
        "data.batch": 64,
        "data.drop_unpaired": True,
        "optim.accumulate": 2,
        **options,
    }
    train(config_for(study, **values), tmp_path / "run")
    lines = read_metrics(tmp_path / "run" / "metrics.jsonl")
    losses = [one["train/loss"] for one in lines if "train/loss" in one]
    held = [one["val/loss"] for one in lines if "val/loss" in one]
    assert len(losses) == 6 and len(held) == 2 and np.isfinite(losses + held).all()
    # Evaluated where each gene was measured: of the panel's slide, four genes.
    features = np.random.default_rng(0).normal(size=(len(study), 6)).astype(np.float32)
    task = Task(
        *("genes", study.name, None, "expression", "main", "val", "train"),
        genes=20,
        protocol="hest-ridge/1",
    )
    found = run_task(task, study, features)
    rows = np.array([unit.startswith("panel_") for unit in found.unit])
    known = ~np.isnan(found.truth)
    assert known[~rows].all() and known[rows].any(axis=0).sum() <= len(PANEL)
    assert np.isfinite(found.value)
