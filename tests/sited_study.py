"""A study of two classes at two sites, five patients each; tiles are noise."""

import anndata
import numpy as np
import pandas as pd
import pytest

from pathjax.data.images import encode_jpeg
from pathjax.data.study import Split, Target
from pathjax.data.study_writer import StudyWriter

CELLS = [(c, s) for c in ("mutant", "wild") for s in ("X", "Y")]
PATIENTS, TILES = 5, 2  # of each cell


@pytest.fixture(scope="module")
def sited_study(tmp_path_factory):
    writer = StudyWriter(
        tmp_path_factory.mktemp("study"),
        name="made",
        tile_px=32,
        mpp=1.0,
        gene_id_type="symbol",
        synthetic=True,
        provenance={"source": "tests"},
        build={"version": 1},
    )
    rng, rows = np.random.default_rng(0), []
    for number in range(len(CELLS) * PATIENTS + 2):
        name = f"P{number:02d}"
        status, site = [*CELLS, ("wild", "unknown")][min(number // PATIENTS, 4)]
        if number == len(CELLS) * PATIENTS + 1:
            status, site = None, "X"
        rows.append((name, name, site, status, 8.0 * number, 0.0, 1.0))
        with writer.shard(name) as shard:
            for tile in range(TILES):
                shard.add(
                    encode_jpeg(rng.integers(0, 256, (32, 32, 3), np.uint8)),
                    tile_id=f"{name}-{tile}",
                    sample_id=name,
                    patient_id=name,
                    site=site,
                    x=32 * tile,
                    tissue="tumour" if tile else "stroma",
                )
    columns = ["sample_id", "patient_id", "site", "status", "pixel_x", "pixel_y"]
    table = pd.DataFrame(rows, columns=[*columns, "source_mpp"])
    table["batch"] = [f"b{number % 3}" for number in range(len(table))]
    ids = table["patient_id"].tolist()
    return writer.finish(
        samples=table,
        targets=[
            Target("tissue", "tile", "class", ("stroma", "tumour")),
            Target("status", "sample", "class", ("mutant", "wild")),
        ],
        splits=[
            Split("cohort", {"one": tuple(ids[::2]), "two": tuple(ids[1::2])}),
            Split("sites", {"X": tuple(ids[:5] + ids[10:15]), "Y": tuple(ids[5:10])}),
        ],
        expression=anndata.AnnData(
            np.ones((len(ids), 2), np.float32), pd.DataFrame(index=ids)
        ),
    )
