"""A small study, and a config to train on it, for tests and for the harness."""

from pathlib import Path

import anndata
import numpy as np
import pandas as pd

from pathjax.config import base_config, override
from pathjax.data.images import encode_jpeg
from pathjax.data.study import Split, Study, Target
from pathjax.data.study_writer import StudyWriter


def build_tiny_study(
    root: Path, *, patients: int = 12, tile_px: int = 32, genes: int = 20
) -> Study:
    """A study of random tiles: two slides per patient, three tiles per slide.

    Tile values and counts share a latent per patient, so that there is something to
    learn; nothing about it looks like tissue.
    """
    random = np.random.default_rng(0)
    writer = StudyWriter(
        root,
        name="tiny",
        tile_px=tile_px,
        mpp=1.0,
        gene_id_type="symbol",
        synthetic=True,
        provenance={"source": "tests/tiny_study.py"},
        build={"patients": patients, "tile_px": tile_px, "genes": genes},
    )
    ids = [f"P{i:02d}" for i in range(patients)]
    # Both classes of the target are in every fold.
    latent = (np.arange(patients) * 5 % patients) / (patients - 1)
    for i, patient in enumerate(ids):
        for slide in "ab":
            if writer.has_shard(f"{patient}{slide}"):
                continue
            with writer.shard(f"{patient}{slide}") as shard:
                for k in range(3):
                    noise = random.integers(0, 60, (tile_px, tile_px, 3))
                    tile = (latent[i] * 180 + noise).astype(np.uint8)
                    shard.add(
                        encode_jpeg(tile),
                        tile_id=f"{patient}{slide}{k}",
                        sample_id=patient,
                        patient_id=patient,
                        site="S1",
                        x=k * tile_px,
                        tile_class="dark" if latent[i] < 0.5 else "light",
                    )
    slope = random.normal(0, 1.5, genes)
    mean = np.exp(2 + slope * (latent[:, None] - 0.5))
    counts = random.poisson(mean).astype(np.float32)
    names = [f"G{i:03d}" for i in range(genes)]
    expression = anndata.AnnData(
        X=np.log1p(counts / counts.sum(1, keepdims=True) * 1e4).astype(np.float32),
        obs=pd.DataFrame(index=ids),
        var=pd.DataFrame(index=names),
        layers={"counts": counts},
        uns={"pathjax": {"x": "log1p(counts per 10,000)"}},
    )
    third = patients // 3
    return writer.finish(
        samples=pd.DataFrame(
            {
                "sample_id": ids,
                "patient_id": ids,
                "site": "S1",
                "group": np.where(latent < 0.5, "low", "high"),
                "latent": latent,
            }
        ),
        targets=[
            Target("tile_class", "tile", "class", ("dark", "light")),
            Target("group", "sample", "class", ("low", "high")),
            Target("latent", "sample", "number"),
        ],
        splits=[
            Split(
                "main",
                {
                    "train": tuple(ids[: 2 * third]),
                    "val": tuple(ids[2 * third : -2]),
                    "test": tuple(ids[-2:]),
                },
            )
        ],
        expression=expression,
        reports=pd.DataFrame({"sample_id": ids[:3], "text": ["a", "b", "c"]}),
    )


def config_for(study, **values):
    """A run of seconds on the small study; `values` are dotted keys."""
    config = base_config()
    small = {
        "study": str(study.root),
        "split": "main",
        "data.batch": 8,
        "data.tiles": 2,
        "data.image_px": 16,
        "data.genes": 8,
        "model.variant": "Xs/8",
        "model.width": 24,
        "model.depth": 1,
        "model.mlp_dim": 32,
        "objective.widths": (16,),
        "objective.embed_dim": 8,
        "optim.steps": 6,
        "optim.warmup": 1,
        "optim.lr": 3e-3,
        "log.every": 1,
        "checkpoint.every": 2,
    }
    if values.get("objective.name", "contrastive") != "contrastive":
        small = {k: v for k, v in small.items() if not k.startswith("objective.")}
    override(config, small | values)
    return config
