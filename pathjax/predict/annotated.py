"""Predictions as AnnData on disk, written in blocks: memory does not grow with tiles.

    obs    tiles: slide_id, patient_id, sample_id, x, y, mpp, ...
    var    genes: symbol, ensembl, what is known of how well they are predicted
    X      expression [tiles, genes] float32, in the unit of uns["pathjax"]["unit"]
    obsm   "spatial": x and y of the centres in level-0 pixels
    uns    "spatial": slide -> images and scalefactors as scanpy and squidpy read them;
           "pathjax": model, input, panel, audit, command

The layout of `uns["spatial"]` is what `scanpy.read_visium` makes (scanpy's docs): images
"hires" and "lowres", `tissue_hires_scalef` (pixels of the image per level-0 pixel) and
`spot_diameter_fullres` (of a tile, level-0 pixels).
"""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pandas as pd
from jaxtyping import Float

from pathjax.files import atomic_path
from pathjax.predict.maps import Picture


def spatial_entry(picture: Picture, side: float) -> dict[str, Any]:
    """One slide's entry of `uns["spatial"]`; `side` of a tile in level-0 pixels."""
    return {
        "images": {"hires": picture.pixels},
        "scalefactors": {
            "tissue_hires_scalef": picture.scale,
            "spot_diameter_fullres": side,
        },
        "metadata": {"picture": picture.source},
    }


def write_annotated(
    path: Path,
    blocks: Iterable[Float[np.ndarray, "m g"]],
    obs: pd.DataFrame,
    var: pd.DataFrame,
    *,
    spatial: dict[str, Any],
    about: dict[str, Any],
) -> None:
    """Writes FILE.h5ad atomically.

    Args:
      path: FILE.h5ad.
      blocks: Rows of X in the order of `obs`.
      obs: A row per tile; `x` and `y` become `obsm["spatial"]` where known.
      var: A row per gene.
      spatial: Slide to `spatial_entry`.
      about: For `uns["pathjax"]`: text, numbers, lists of text.

    Raises:
      ValueError: The blocks do not have as many rows as `obs`.
    """
    import anndata

    uns: dict[str, Any] = {"pathjax": {k: _plain(v) for k, v in about.items()}}
    if spatial:
        uns["spatial"] = spatial
    places = obs[["x", "y"]].to_numpy(np.float64)
    obsm = {"spatial": places} if np.isfinite(places).all() else {}
    table = anndata.AnnData(obs=obs, var=var, uns=uns, obsm=obsm)
    with atomic_path(path) as partial:
        table.write_h5ad(partial)
        with h5py.File(partial, "r+") as file:
            if "X" in file:  # written as a null by AnnData
                del file["X"]
            x = file.create_dataset("X", (len(obs), len(var)), np.float32)
            x.attrs["encoding-type"] = "array"
            x.attrs["encoding-version"] = "0.2.0"
            done = 0
            for block in blocks:
                x[done : done + len(block)] = block
                done += len(block)
            if done != len(obs):
                raise ValueError(f"expected {len(obs)} rows for {path}, got {done}")


def _plain(value: Any) -> Any:
    """A value that HDF5 supports: lists of text as arrays, None as text."""
    if isinstance(value, list | tuple):
        return np.array([str(item) for item in value], object)
    return "unknown" if value is None else value


def read_columns(path: Path, columns: list[int]) -> Float[np.ndarray, "n c"]:
    """Some genes of all tiles of a written file, a block of rows at a time."""
    with h5py.File(path, "r") as file:
        x = file["X"]
        out = np.empty((len(x), len(columns)), np.float32)
        for start in range(0, len(x), 8192):
            out[start : start + 8192] = x[start : start + 8192][:, columns]
    return out


def read_names(path: Path) -> list[str]:
    """Names of the genes of a written file."""
    import anndata

    with h5py.File(path, "r") as file:
        return anndata.io.read_elem(file["var"]).index.tolist()
