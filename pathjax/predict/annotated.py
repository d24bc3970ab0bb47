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

import itertools
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pandas as pd
from jaxtyping import Float, Int

from pathjax.embeddings.embedding_file import FileRows
from pathjax.files import atomic_path
from pathjax.predict.maps import Picture

VALUES_AT_ONCE = 1 << 22


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
    obs: Iterable[pd.DataFrame],
    var: pd.DataFrame,
    *,
    count: int,
    texts: dict[str, Sequence[str]],
    spatial: dict[str, Any],
    about: dict[str, Any],
) -> None:
    """Writes FILE.h5ad atomically.

    Args:
      path: FILE.h5ad.
      blocks: Rows of X in the order of `obs`.
      obs: A row per tile, some tiles at a time; `x` and `y` become `obsm["spatial"]`
        where known.
      var: A row per gene.
      count: How many tiles.
      texts: All values of each column of text, which AnnData makes categories of where
        one occurs twice.
      spatial: Slide to `spatial_entry`.
      about: For `uns["pathjax"]`: text, numbers, lists of text.

    Raises:
      ValueError: The blocks or the tables do not have `count` rows.
    """
    import anndata

    uns: dict[str, Any] = {"pathjax": {k: _plain(v) for k, v in about.items()}}
    if spatial:
        uns["spatial"] = spatial
    tables = iter(obs)
    first = next(tables)
    head = _head(first, texts, count)
    places = head[["x", "y"]].to_numpy(np.float64)
    obsm = {"spatial": places} if np.isfinite(places).all() else {}
    # AnnData writes one tile; its arrays are then made as long as needed, and filled.
    table = anndata.AnnData(obs=head, var=var, uns=uns, obsm=obsm)
    with atomic_path(path) as partial:
        table.write_h5ad(partial)
        with h5py.File(partial, "r+") as file:
            done = _write_obs(file, itertools.chain([first], tables), head, count)
            if done != count:
                raise ValueError(f"expected a table of {count} tiles, got {done}")
            if "X" in file:  # written as a null by AnnData
                del file["X"]
            x = file.create_dataset("X", (count, len(var)), np.float32)
            x.attrs["encoding-type"] = "array"
            x.attrs["encoding-version"] = "0.2.0"
            done = 0
            for block in blocks:
                x[done : done + len(block)] = block
                done += len(block)
            if done != count:
                raise ValueError(f"expected {count} rows for {path}, got {done}")


def _head(
    table: pd.DataFrame, texts: dict[str, Sequence[str]], count: int
) -> pd.DataFrame:
    """A table's first row, with the categories that AnnData would make of all rows."""
    import anndata

    head = table.iloc[:1].set_axis(table.index[:1].astype(object)).copy()
    for name, values in texts.items():
        head[name] = head[name].astype(object)
        if len(values) < count:
            twice = pd.DataFrame({name: np.repeat(np.array(values, object), 2)})
            anndata.AnnData().strings_to_categoricals(twice)
            kinds = twice[name].cat.categories
            head[name] = pd.Categorical(head[name], categories=kinds)
    return head


def _write_obs(
    file: h5py.File, tables: Iterable[pd.DataFrame], head: pd.DataFrame, count: int
) -> int:
    """All rows of obs, in place of the head's; returns how many there were."""
    obs, obsm, done = file["obs"], file["obsm"], 0
    arrays = {
        name: _longer(obs, name, count)
        if isinstance(obs[name], h5py.Dataset)
        else _longer(obs[name], "codes", count)
        for name in head
    }
    index = _longer(obs, obs.attrs["_index"], count)
    spatial = _longer(obsm, "spatial", count) if "spatial" in obsm else None
    for table in tables:
        part = slice(done, done + len(table))
        done += len(table)
        index[part] = table.index.to_numpy(object)
        for name, array in arrays.items():
            values = table[name].to_numpy()
            if isinstance(head[name].dtype, pd.CategoricalDtype):
                values = head[name].cat.categories.get_indexer(values)
            array[part] = values
        if spatial is not None:
            spatial[part] = table[["x", "y"]].to_numpy(np.float64)
    return done


def _longer(group: h5py.Group, name: str, count: int) -> h5py.Dataset:
    """An array of a group made anew with so many rows, not filled."""
    old = group[name]
    shape, dtype, attributes = (count, *old.shape[1:]), old.dtype, dict(old.attrs)
    del group[name]
    new = group.create_dataset(name, shape, dtype)
    new.attrs.update(attributes)
    return new


def _plain(value: Any) -> Any:
    """A value that HDF5 supports: lists of text as arrays, None as text."""
    if isinstance(value, list | tuple):
        return np.array([str(item) for item in value], object)
    return "unknown" if value is None else value


def read_columns(
    path: Path, columns: list[int], tiles: Int[np.ndarray, "n"]
) -> Float[np.ndarray, "n c"]:
    """Some genes of some tiles of a written file, a block of rows at a time."""
    x = FileRows(path, "X")
    out = np.empty((len(tiles), len(columns)), np.float32)
    at_once = max(1, VALUES_AT_ONCE // x.shape[1])
    for start in range(0, len(tiles), at_once):
        part = slice(start, start + at_once)
        out[part] = x[tiles[part]][:, columns]
    return out


def read_names(path: Path) -> list[str]:
    """Names of the genes of a written file."""
    import anndata

    with h5py.File(path, "r") as file:
        return anndata.io.read_elem(file["var"]).index.tolist()
