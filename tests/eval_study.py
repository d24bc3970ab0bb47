"""A study with every kind of target and split that tasks can meet."""

import anndata
import numpy as np
import pandas as pd
import pytest

from pathjax.data.images import encode_jpeg
from pathjax.data.study import Split, Study, Target
from pathjax.data.study_writer import StudyWriter
from pathjax.evals.probes.base import FoldRows
from pathjax.evals.row_features import with_features
from pathjax.evals.rows import fold_rows

PATIENTS = 30
GENES = 12


@pytest.fixture(scope="session")
def study(tmp_path_factory) -> Study:
    """30 patients, 2 slides each of 2 samples (spots) with 2 tiles; black tiles."""
    rng = np.random.default_rng(7)
    writer = StudyWriter(
        tmp_path_factory.mktemp("study"),
        name="made",
        tile_px=8,
        mpp=1.0,
        gene_id_type="symbol",
        synthetic=True,
        provenance={"source": "tests"},
        build={"version": 1},
    )
    black = encode_jpeg(np.zeros((8, 8, 3), np.uint8))
    samples = []
    for number in range(PATIENTS):
        patient = f"P{number:02d}"
        for slide in (f"{patient}a", f"{patient}b"):
            with writer.shard(slide) as shard:
                for spot in range(2):
                    sample = f"{slide}{spot}"
                    samples.append((sample, patient, number))
                    for tile in range(2):
                        shard.add(
                            black,
                            tile_id=f"{sample}-{tile}",
                            sample_id=sample,
                            patient_id=patient,
                            site="S",
                            x=8 * tile,
                            y=8 * spot,
                            tissue=("tumour", "stroma", "fat")[(number + tile) % 3],
                        )
    ids = [one[0] for one in samples]
    number = np.array([one[2] for one in samples])
    status = np.where(number % 2 == 0, "mutant", "wild").astype(object)
    status[rng.choice(len(ids), 6, replace=False)] = None
    purity = number / PATIENTS + rng.normal(0, 0.05, len(ids))
    purity[3] = np.nan
    table = pd.DataFrame(
        {
            "sample_id": ids,
            "patient_id": [one[1] for one in samples],
            "site": "S",
            "status": status,
            "purity": purity,
            "same": "one",
        }
    )
    slope = np.linspace(-2, 2, GENES)
    x = 3 + (number / PATIENTS)[:, None] * slope + rng.normal(0, 0.1, (len(ids), GENES))
    x[:, 4] = 1.0  # constant everywhere
    obs = [one for one in ids if one != ids[5]]  # one sample without expression
    rows = [ids.index(one) for one in obs]
    expression = anndata.AnnData(
        X=x[rows].astype(np.float32),
        obs=pd.DataFrame(index=obs),
        var=pd.DataFrame(index=[f"G{i}" for i in range(GENES)]),
    )
    everyone = [f"P{i:02d}" for i in range(PATIENTS)]
    slides = [f"{p}{s}" for p in everyone[:1] for s in "ab"]
    return writer.finish(
        samples=table,
        targets=[
            Target("tissue", "tile", "class", ("fat", "stroma", "tumour")),
            Target("status", "sample", "class", ("mutant", "wild")),
            Target("same", "sample", "class", ("one", "two")),
            Target("purity", "sample", "number"),
        ],
        splits=[
            Split(
                "cohort",
                {
                    "fit": tuple(everyone[:14]),
                    "select": tuple(everyone[14:20]),
                    "test": tuple(everyone[20:]),
                },
            ),
            Split(
                "lone",
                {
                    "one": tuple(everyone[:1]),
                    "two": tuple(everyone[1:3]),
                    "test": tuple(everyone[20:]),
                },
            ),
            Split(
                "sections",
                {
                    "fit": tuple(slides[:1] + [f"{p}a" for p in everyone[1:]]),
                    "test": tuple(slides[1:] + [f"{p}b" for p in everyone[1:]]),
                },
                unit="slide_id",
                shared_patients=tuple(everyone),
                note="sections of one patient are held apart",
            ),
        ],
        expression=expression,
    )


@pytest.fixture(scope="session")
def features(study) -> np.ndarray:
    """Tile embeddings `[T, 16]` that know the patient's number and the tissue."""
    rng = np.random.default_rng(11)
    number = study.tiles["patient_id"].str[1:].astype(int).to_numpy()
    tissue = pd.Categorical(study.tiles["tissue"]).codes
    known = np.stack(
        [number / PATIENTS, number % 2, *(tissue == np.arange(3)[:, None])]
    )
    mix = rng.normal(size=(len(known), 16))
    noise = rng.normal(0, 0.3, (len(number), 16))
    return (known.T @ mix + noise + 5).astype(np.float32)


def rows_of(study, level: str, split: str, fold, features) -> FoldRows:
    """A fold's rows with their embeddings."""
    rows = {fold: fold_rows(study, level, split, fold)}
    return with_features(study, level, rows, features)[fold]
