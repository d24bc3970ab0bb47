"""AnnData with positions, as scanpy and squidpy write it (.h5ad, .zarr), and in memory.

Raw counts are taken from `layers["counts"]`, `raw` or X, whichever holds whole numbers.
Pictures in `uns["spatial"]` are reduced ones and used only when asked for.
"""

import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import anndata
import h5py
import numpy as np
import pandas as pd
import scipy.sparse
from jaxtyping import Float

from pathjax.datasets.spatial import tenx, visium
from pathjax.datasets.spatial.genes import stable_id
from pathjax.datasets.spatial.image import ImageSource
from pathjax.datasets.spatial.labels import constant, label_columns
from pathjax.datasets.spatial.options import SpatialOptions
from pathjax.datasets.spatial.pictures import Pictures
from pathjax.datasets.spatial.sample import (
    ARRAY_COLUMNS,
    Format,
    Note,
    SpatialError,
    SpatialSample,
)
from pathjax.datasets.spatial.scale import fit_array, median_step
from pathjax.files import reading
from pathjax.optional_deps import need

# One of these is in every folder of Zarr: of version 3, and of version 2.
ZARR_MARKS = ("zarr.json", ".zgroup", ".zattrs")
COUNTS_LAYERS = ("counts", "raw_counts")
ID_COLUMNS = ("gene_ids", "gene_id", "ensembl", "ensembl_id", "feature_id")
SYMBOL_COLUMNS = (
    "symbol",
    "gene_symbol",
    "gene_symbols",
    "gene_name",
    "gene_names",
    "feature_name",
)
# x and y of spots' centres in pixels, by whoever wrote the file. SpaGCN and DeepSpot call
# the row x_pixel and the column y_pixel, others the other way round.
AMBIGUOUS = ("x_pixel", "y_pixel")
POSITION_COLUMNS = (
    ("pxl_col_in_fullres", "pxl_row_in_fullres"),
    AMBIGUOUS,
    ("pixel_x", "pixel_y"),
)
SAME_PX = 1.5  # positions are rounded to whole pixels by some


class AnnDataFile(Format):
    """An .h5ad file or .zarr folder with positions of spots, bins or cells."""

    name = "AnnData"
    needs = (
        "an .h5ad file (or .zarr folder) with raw counts and obsm['spatial'], and its full-resolution "
        "image by --image"
    )

    def recognises(self, path: Path) -> bool:
        if path.is_dir():
            groups = all((path / name).is_dir() for name in ("obs", "var"))
            return groups and any((path / mark).is_file() for mark in ZARR_MARKS)
        if not path.is_file():
            return False
        if not h5py.is_hdf5(path):
            return path.suffix == ".h5ad"  # a damaged one
        try:
            with h5py.File(path) as file:
                return "obs" in file and "var" in file
        except OSError:
            return path.suffix == ".h5ad"

    def read(self, path: Path, options: SpatialOptions) -> SpatialSample:
        notes = missing_chunks(path) if path.is_dir() else ()
        adata = read_anndata(path)
        return sample_of(adata, path.stem, str(path), options, notes=notes)


def read_anndata(path: Path) -> anndata.AnnData:
    """The content of an .h5ad file or a .zarr folder.

    Raises:
      SpatialError: It is missing, truncated or no AnnData.
    """
    if not path.exists():
        raise SpatialError(f"{path} does not exist")
    if path.is_dir():
        need("zarr", "spatial")
    read = anndata.read_zarr if path.is_dir() else anndata.read_h5ad
    with (
        reading(path, SpatialError, "AnnData", "copy or download it again"),
        warnings.catch_warnings(),
    ):
        # Genes that share a name are added up, spots that do are refused.
        warnings.filterwarnings("ignore", ".*names are not unique")
        return read(path)


def missing_chunks(store: Path) -> tuple[str, ...]:
    """Warnings of arrays in a Zarr folder with absent chunks, which Zarr reads as zeros.

    Writers leave out a chunk of zeros, so one of a dense matrix or an image may be right.

    Raises:
      SpatialError: Chunks of sparse counts or of positions, never all zeros, are absent.
    """
    zarr = need("zarr", "spatial")
    notes = []
    for name, array in zarr.open_group(store, mode="r").members(max_depth=None):
        parts = name.split("/")
        is_sparse = parts[-1] in ("data", "indices") and (
            store.joinpath(*parts[:-1], "indptr").is_dir()
        )
        is_place = parts[-2:] == ["obsm", "spatial"]
        is_dense = parts[-1] == "X" or "layers" in parts or "images" in parts
        if not isinstance(array, zarr.Array) or not (is_sparse or is_place or is_dense):
            continue
        absent = array.nchunks - array.nchunks_initialized
        if absent and (is_sparse or is_place):
            raise SpatialError(
                f"{store}/{name} lacks {absent} of {array.nchunks} chunks, which would "
                "be read as zeros: copy or download it again"
            )
        if absent:
            notes.append(
                f"{name} lacks {absent} of {array.nchunks} chunks: read as zeros, which "
                "is right only if they are nothing but zeros"
            )
    return tuple(notes)


def sample_of(
    adata: anndata.AnnData,
    name: str,
    where: str,
    options: SpatialOptions,
    *,
    image: ImageSource | None = None,
    mpp: Mapping[str, float] | None = None,
    technology: str | None = None,
    spot_um: float | None = None,
    patient: str | None = None,
    notes: tuple[str, ...] = (),
) -> SpatialSample:
    """A sample of one AnnData.

    Args:
      adata: Its obs has a row per spot.
      name: The sample's name.
      where: Named in errors.
      options: `image` is a path, or the name of a reduced picture in the AnnData.
      image: The image in full resolution, where the caller has it.
      mpp: Evidence of the scale that the caller has; comes before the AnnData's own.
      technology, spot_um, patient: Where the caller knows them.
      notes: Warnings of the caller.

    Raises:
      SpatialError: There are no raw counts, no positions or no image.
    """
    if adata.obs_names.has_duplicates:
        twice = adata.obs_names[adata.obs_names.duplicated()]
        raise SpatialError(f"{where}: {len(twice)} barcodes occur twice: {twice[0]}")
    counts, var = raw_counts(adata, where)
    positions = positions_of(adata, where)
    keep, left_out = usable(adata, positions)
    if not keep.any():
        raise SpatialError(f"{where}: no spot in tissue has a position")
    obs, xy = adata.obs[keep], positions[keep]
    pictures = Pictures.of(adata, where)
    evidence = dict(mpp or {})
    is_visium, found, warned = visium_evidence(obs, xy, pictures.factors, name)
    notes = (*notes, *warned)
    evidence |= {key: value for key, value in found.items() if key not in evidence}
    factor = 1.0
    if image is None:
        image, factor = pictures.image(options.image, evidence)
    if set(AMBIGUOUS) <= set(obs) and "spatial" not in adata.obsm:
        xy, note = by_image(xy, image)
        notes = (*notes, *note)
    labels, unused = label_columns(obs)
    array = [column for column in ARRAY_COLUMNS if column in obs]
    table = pd.concat([obs[array], labels], axis=1)
    table.index = table.index.astype(str)
    own_patient = constant(obs, ("patient_id", "patient", "donor"), where)
    if patient and own_patient and patient != own_patient:
        raise SpatialError(
            f"{where}: obs names patient {own_patient}, the metadata {patient}"
        )
    return SpatialSample(
        name=name,
        counts=anndata.AnnData(X=counts[np.flatnonzero(keep)], obs=table, var=var),
        positions=xy * factor,
        image=image,
        mpp={source: value / factor for source, value in evidence.items()},
        spot_um=spot_um or options.spot_um or (visium.SPOT_UM if is_visium else 0.0),
        technology=technology or ("Visium" if is_visium else "unknown"),
        patient=patient or own_patient,
        site=constant(obs, ("site",), where),
        left_out=(*left_out, *unused),
        notes=notes,
    )


def raw_counts(
    adata: anndata.AnnData, where: str
) -> tuple[scipy.sparse.csr_matrix, pd.DataFrame]:
    """Whole counts `[spots, genes]`, and var as a sample has it.

    Raises:
      SpatialError: The AnnData holds none, only normalised values.
    """
    places: list[tuple[str, Any, pd.DataFrame]] = [
        (f"layers[{name!r}]", adata.layers[name], adata.var)
        for name in COUNTS_LAYERS
        if name in adata.layers
    ]
    if adata.raw is not None:
        places.append(("raw", adata.raw.X, adata.raw.var))
    if adata.X is not None:
        places.append(("X", adata.X, adata.var))
    seen = []
    for place, values, var in places:
        matrix = scipy.sparse.csr_matrix(values, dtype=np.float32)
        problem = not_counts(matrix.data)
        if not problem:
            return matrix, gene_columns(var)
        seen.append(f"{place} holds {problem}")
    raise SpatialError(
        f"{where} has no raw counts: {'; '.join(seen) or 'no X at all'}. Save the counts "
        "before normalisation as layers['counts']"
    )


def not_counts(values: Float[np.ndarray, "n"]) -> str:
    """Why values are not counts; empty if they are."""
    if not len(values):
        return "nothing but zeros"
    if not np.isfinite(values).all():
        return "values that are no numbers"
    if values.min() < 0:
        return f"negative values (least {values.min():.3g}), as scaling makes them"
    if (values % 1).any():
        return f"values that are not whole (largest {values.max():.3g}): normalised"
    return ""


def gene_columns(var: pd.DataFrame) -> pd.DataFrame:
    """Columns gene_id and symbol from what writers call them, by var's own names."""
    names = var.index.astype(str)
    ids = _first(var, ID_COLUMNS, names)
    symbols = _first(var, SYMBOL_COLUMNS, names)
    if not any(map(stable_id, ids)):
        ids = names
    table = tenx.gene_table(list(ids), list(symbols))
    return table.set_axis(tenx.unique(list(names)), axis=0)


def _first(var: pd.DataFrame, columns: tuple[str, ...], default: pd.Index) -> pd.Index:
    for column in columns:
        if column in var:
            return pd.Index(var[column].astype(object).fillna("").astype(str))
    return default


def positions_of(adata: anndata.AnnData, where: str) -> Float[np.ndarray, "spots 2"]:
    """x and y in pixels of the full-resolution image; may hold NaN.

    Raises:
      SpatialError: There are none, or those in obsm and in obs differ.
    """
    named = {}
    for columns in POSITION_COLUMNS:
        if set(columns) <= set(adata.obs):
            values = adata.obs[list(columns)].apply(pd.to_numeric, errors="coerce")
            named[f"obs columns {', '.join(columns)}"] = values.to_numpy(np.float64)
    if "spatial" in adata.obsm:
        values = np.asarray(adata.obsm["spatial"])
        if values.ndim != 2 or values.shape[1] < 2 or values.dtype.kind not in "iuf":
            raise SpatialError(
                f"{where}: expected obsm['spatial'] with two columns of numbers, got "
                f"{values.dtype} of shape {values.shape}"
            )
        named["obsm['spatial']"] = values[:, :2].astype(np.float64)
    if not named:
        raise SpatialError(
            f"{where} has no positions: expected obsm['spatial'] with x and y in pixels "
            f"of the image; obsm has {', '.join(adata.obsm) or 'nothing'}"
        )
    first, *others = named
    for other in others:
        _require_same(where, first, named[first], other, named[other])
    return named[first]


def _require_same(where: str, first: str, a, second: str, b) -> None:
    finite = np.isfinite(a).all(axis=1) & np.isfinite(b).all(axis=1)
    a, b = a[finite], b[finite]
    if not len(a) or np.abs(a - b).max() <= SAME_PX:
        return
    if np.abs(a - b[:, ::-1]).max() <= SAME_PX:
        how = "x and y are swapped in one of them"
    else:
        ratio = np.median(b / np.where(a == 0, np.nan, a))
        how = f"the second is about {ratio:.3g} times the first"
    raise SpatialError(
        f"{where}: {first} and {second} give different positions ({how}): correct or "
        "remove one"
    )


def by_image(
    xy: Float[np.ndarray, "n 2"], image: ImageSource
) -> tuple[Float[np.ndarray, "n 2"], tuple[str, ...]]:
    """x and y exchanged, with a warning, if only so all spots are inside the image."""
    size = np.array(image.size)
    outside = [((at < 0) | (at > size)).any(axis=1).sum() for at in (xy, xy[:, ::-1])]
    if not (outside[0] and not outside[1]):
        return xy, ()
    note = (
        f"{AMBIGUOUS[0]} is taken as the row and {AMBIGUOUS[1]} as the column, as SpaGCN "
        f"writes them: the other way {outside[0]} spots are outside the image"
    )
    return xy[:, ::-1].copy(), (note,)


def usable(
    adata: anndata.AnnData, positions: Float[np.ndarray, "n 2"]
) -> tuple[np.ndarray, list[Note]]:
    """Mask of the spots in tissue with a position, and what is left out."""
    keep, left_out = np.isfinite(positions).all(axis=1), []
    if not keep.all():
        left_out.append((f"{(~keep).sum()} spots", "their position is no number"))
    if "in_tissue" in adata.obs:
        inside = pd.to_numeric(adata.obs["in_tissue"], errors="coerce").to_numpy() != 0
        if outside := (keep & ~inside).sum():
            left_out.append((f"{outside} spots", "not in tissue (in_tissue 0)"))
        keep = keep & inside
    return keep, left_out


def visium_evidence(
    obs: pd.DataFrame,
    xy: Float[np.ndarray, "n 2"],
    factors: Mapping[str, float],
    name: str,
) -> tuple[bool, dict[str, float], tuple[str, ...]]:
    """Whether the spots are Visium's, the scale that its geometry gives, and warnings.

    Rows of Visium's array alternate: row and column are both even or both odd.

    Raises:
      SpatialError: The spots are not where their array positions say.
    """
    if not set(ARRAY_COLUMNS) <= set(obs):
        return False, {}, ()
    array = obs[list(ARRAY_COLUMNS)].apply(pd.to_numeric, errors="coerce").to_numpy()
    if not np.isfinite(array).all() or (array.sum(axis=1) % 2).any():
        return False, {}, ()
    array = array.astype(int)
    if median_step(array, xy, (1, 1)) is None:
        return False, {}, ()
    fit = fit_array(name, array, xy)
    if fit is None:
        return False, {}, ()
    column_um = visium.PITCH_UM / 2
    evidence = {"spot pitch": fit.mpp(column_um)}
    if fiducial := factors.get("fiducial_diameter_fullres"):
        evidence["scale factors"] = visium.FIDUCIAL_UM / float(fiducial)
    warned = fit.warnings(column_um, column_um * 3**0.5, visium.MIRRORED)
    return True, evidence, tuple(warned)
