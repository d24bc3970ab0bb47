"""A small slide of made-up tissue with spots on it, for the formats of spots."""

import dataclasses

import anndata
import numpy as np
import pandas as pd
from PIL import Image

SIDE = 400  # pixels
MPP = 2.0


def picture(seed: int = 0, side: int = SIDE) -> np.ndarray:
    """Purple texture in a disc on glass; no turn or flip of it looks the same."""
    rng = np.random.default_rng(seed)
    image = np.full((side, side, 3), 240, np.uint8)
    y, x = np.mgrid[:side, :side] / side - 0.5
    tissue = (x + 0.1) ** 2 + y**2 < 0.32**2
    tissue |= (x > 0) & (np.abs(y - 0.25) < 0.1) & (x < 0.45)
    noise = rng.normal(0, 30, (side, side, 1))
    colour = np.array([150, 90, 160]) + 60 * x[..., None] * np.array([1, 0, -1])
    image[tissue] = np.clip(colour + noise, 0, 255)[tissue].astype(np.uint8)
    return image


def save(path, image) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(image).save(path)


@dataclasses.dataclass
class Visium:
    """Spots of Visium's hexagonal array, 100 um apart, at MPP."""

    rows: int = 6
    columns: int = 6

    @property
    def array(self) -> np.ndarray:
        """Row and column of each spot."""
        return np.array(
            [
                (row, 2 * column + row % 2)
                for row in range(self.rows)
                for column in range(self.columns)
            ]
        )

    @property
    def xy(self) -> np.ndarray:
        step = 100 / MPP
        return self.array[:, ::-1] * [step / 2, step * np.sqrt(3) / 2] + [60.0, 70.0]


def spots(genes: int = 8, seed: int = 0) -> anndata.AnnData:
    """Counts of Visium spots as scanpy reads them: Ensembl ids beside symbols."""
    made = Visium()
    rng = np.random.default_rng(seed)
    n = len(made.array)
    return anndata.AnnData(
        rng.poisson(3, (n, genes)).astype(np.float32),
        obs=pd.DataFrame(
            {
                "in_tissue": 1,
                "array_row": made.array[:, 0],
                "array_col": made.array[:, 1],
                "zone": np.where(made.array[:, 0] < 3, "upper", "lower"),
            },
            index=[f"AAAC{i:04d}-1" for i in range(n)],
        ),
        var=pd.DataFrame(
            {"gene_ids": [f"ENSG{i:011d}" for i in range(genes)]},
            index=[f"GENE{i}" for i in range(genes)],
        ),
        obsm={"spatial": made.xy},
    )
