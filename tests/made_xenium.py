"""A small output of Xenium with an H&E image and its alignment matrix."""

import dataclasses
import gzip
import json
from pathlib import Path

import numpy as np
import pandas as pd
from made_spots import picture, save
from made_visium import write_h5

PIXEL_UM = 0.2125
HE_MPP = 2.0
GENES = ["EPCAM", "PTPRC", "COL1A1"]
CONTROLS = ["NegControlProbe_00042", "BLANK_0069"]
# From H&E pixels to Xenium pixels: turned by 180 degrees, as sections often lie.
SHIFT = np.array([3900.0, 3850.0])
MATRIX = np.array(
    [
        [-HE_MPP / PIXEL_UM, 0, SHIFT[0]],
        [0, -HE_MPP / PIXEL_UM, SHIFT[1]],
        [0, 0, 1],
    ]
)


def to_he(um: np.ndarray) -> np.ndarray:
    """Positions in the H&E image, by hand."""
    return (SHIFT - um / PIXEL_UM) * PIXEL_UM / HE_MPP


@dataclasses.dataclass
class Made:
    """What was written."""

    folder: Path
    cells: pd.DataFrame
    counts: np.ndarray
    transcripts: pd.DataFrame


def make(folder: Path, *, csv: bool = False, matrix: np.ndarray = MATRIX) -> Made:
    """120 cells on the tissue of the made picture, some transcripts in each."""
    folder.mkdir(parents=True)
    rng = np.random.default_rng(0)
    image = picture()
    rows, columns = np.nonzero(image[..., 1] < 150)
    chosen = rng.choice(len(rows), 120, replace=False)
    he = np.column_stack([columns[chosen], rows[chosen]]) + 0.5
    um = (SHIFT - he * HE_MPP / PIXEL_UM) * PIXEL_UM
    cells = pd.DataFrame(
        {
            "cell_id": [f"aaaa{i:04d}-1" for i in range(120)],
            "x_centroid": um[:, 0],
            "y_centroid": um[:, 1],
        }
    )
    ids = [f"ENSG{i:011d}" for i in range(3)] + CONTROLS
    names = np.array([*GENES, *CONTROLS])
    counts = np.concatenate(
        [rng.poisson(3, (120, 3)), rng.poisson(0.2, (120, 2))], axis=1
    )
    cell, feature = np.nonzero(counts)
    times = counts[cell, feature]
    cell, feature = np.repeat(cell, times), np.repeat(feature, times)
    transcripts = pd.DataFrame(
        {
            "transcript_id": np.arange(len(cell)),
            "cell_id": cells["cell_id"].to_numpy()[cell],
            "feature_name": names[feature],
            "x_location": um[cell, 0],
            "y_location": um[cell, 1],
            "qv": 40.0,
        }
    )
    poor = transcripts.iloc[:50].assign(qv=12.0)
    transcripts = pd.concat([transcripts, poor], ignore_index=True)
    kinds = ["Gene Expression"] * len(GENES) + ["Negative Control Probe"] * 2
    path = folder / "cell_feature_matrix.h5"
    write_h5(path, counts, cells["cell_id"], ids, names, kinds)
    (folder / "experiment.xenium").write_text(
        json.dumps({"pixel_size": PIXEL_UM, "analysis_sw_version": "xenium-1.9.0"})
    )
    if csv:
        for name, table in (("cells", cells), ("transcripts", transcripts)):
            data = gzip.compress(table.to_csv(index=False).encode())
            (folder / f"{name}.csv.gz").write_bytes(data)
    else:
        cells.to_parquet(folder / "cells.parquet")
        transcripts.to_parquet(folder / "transcripts.parquet")
    save(folder / "S1_he_image.png", image)
    np.savetxt(folder / "S1_he_imagealignment.csv", matrix, delimiter=",")
    return Made(folder, cells, counts[:, :3], transcripts)
