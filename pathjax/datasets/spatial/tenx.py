"""10x Genomics' feature-barcode matrices: HDF5 of Cell Ranger 3 on, or a folder of MTX.

Only features of type "Gene Expression" are kept. Positions are elsewhere.
"""

import collections
from collections.abc import Callable, Iterator
from pathlib import Path

import anndata
import h5py
import numpy as np
import pandas as pd
import scipy.io
import scipy.sparse
from jaxtyping import Bool, Int

from pathjax.datasets.spatial.genes import stable_id
from pathjax.datasets.spatial.sample import SpatialError
from pathjax.files import reading

GENE = "Gene Expression"
READ_AT_ONCE = 20_000_000  # counts per read of the HDF5 file

Rows = Callable[[np.ndarray], Bool[np.ndarray, "barcodes"]]
Pool = Callable[[np.ndarray], tuple[Int[np.ndarray, "barcodes"], list[str]]]


def read_counts(
    path: Path, rows: Rows | None = None, pool: Pool | None = None
) -> tuple[anndata.AnnData, list[tuple[str, str]]]:
    """Reads a matrix.

    Args:
      path: The `.h5` file, or a folder with matrix.mtx, barcodes.tsv, features.tsv.
      rows: Given the barcodes, says which to read; None reads all.
      pool: Given those, the number of the group that each is in, and the groups' names:
        counts of a group are summed while they are read.

    Returns:
      Counts as `SpatialSample` has them, and the features left out with reasons.

    Raises:
      SpatialError: The file is damaged, transposed, or holds no genes.
    """
    read = _read_mtx if path.is_dir() else _read_h5
    kind, advice = "a matrix of 10x Genomics", "copy or download it again"
    with reading(path, SpatialError, kind, advice):
        counts, features, barcodes = read(path, rows, pool)
    kept = (features["feature_type"] == GENE).to_numpy()
    others = collections.Counter(features["feature_type"][~kept])
    left_out = [
        (f"{number} features", f"{kind}, not {GENE}")
        for kind, number in sorted(others.items())
    ]
    if not kept.any():
        raise SpatialError(f"{path} has no feature of type {GENE}, only {dict(others)}")
    features, counts = features[kept], counts[:, np.flatnonzero(kept)]
    return (
        anndata.AnnData(
            X=scipy.sparse.csr_matrix(counts, dtype=np.float32),
            obs=pd.DataFrame(index=pd.Index(barcodes, dtype=object)),
            var=gene_table(features["id"].tolist(), features["name"].tolist()),
        ),
        left_out,
    )


def gene_table(ids: list[str], symbols: list[str]) -> pd.DataFrame:
    """`var` of a sample: index as in the file, columns gene_id and symbol."""
    return pd.DataFrame(
        {
            "gene_id": [stable_id(name) for name in ids],
            "symbol": ["" if stable_id(name) else name for name in symbols],
        },
        index=unique(ids),
    )


def unique(names: list[str]) -> pd.Index:
    """An index for names that may be repeated; gene_id and symbol keep what they say."""
    return anndata.utils.make_index_unique(pd.Index(names, dtype=object))


def _read_h5(path: Path, rows: Rows | None, pool: Pool | None):
    with h5py.File(path) as file:
        if "matrix" not in file:
            raise SpatialError(
                f"{path}: expected the group matrix of Cell Ranger 3 or later, got "
                f"{', '.join(file) or 'nothing'}"
            )
        matrix = file["matrix"]
        if "probe_region" in matrix["features"] and "gene_id" in matrix["features"]:
            raise SpatialError(
                f"{path} counts probes, not genes: give filtered_feature_bc_matrix.h5"
            )
        features = pd.DataFrame(
            {
                name: matrix["features"][name].asstr()[:]
                for name in ("id", "name", "feature_type")
            }
        )
        shape = tuple(int(side) for side in matrix["shape"][:])
        n_barcodes = matrix["barcodes"].shape[0]
        _check_shape(path, shape, len(features), n_barcodes)
        indptr = matrix["indptr"][:].astype(np.int64)
        barcodes = matrix["barcodes"][:].astype("S")
        kept = slice(None) if rows is None else np.flatnonzero(rows(barcodes))
        chosen = np.arange(n_barcodes)[kept]
        barcodes = barcodes[kept]
        pieces = _pieces(matrix, indptr, chosen, len(features))
        if pool is None:
            total = int((indptr[chosen + 1] - indptr[chosen]).sum())
            counts = _joined(pieces, total, len(features))
            return counts, features, [name.decode() for name in barcodes]
        groups, names = pool(barcodes)
        counts = scipy.sparse.csr_matrix((len(names), len(features)), dtype=np.float32)
        for place, piece in pieces:
            counts += into(groups[place], len(names)) @ piece
    return counts, features, names


def into(groups: Int[np.ndarray, "n"], number: int) -> scipy.sparse.csr_matrix:
    """The matrix `[number, n]` that sums rows by group."""
    ones = np.ones(len(groups), np.float32)
    return scipy.sparse.csr_matrix(
        (ones, (groups, np.arange(len(groups)))), shape=(number, len(groups))
    )


def _pieces(
    matrix: h5py.Group, indptr: Int[np.ndarray, "n"], rows: Int[np.ndarray, "m"], n: int
) -> Iterator[tuple[slice, scipy.sparse.csr_matrix]]:
    """The counts of some barcodes, a part of them at a time."""
    start = 0
    while start < len(rows):
        limit = indptr[rows[start]] + READ_AT_ONCE
        stop = max(start + 1, int(np.searchsorted(indptr[rows + 1], limit, "right")))
        begin, end = indptr[rows[start:stop]], indptr[rows[start:stop] + 1]
        low, high = begin[0], end[-1]
        edges = np.zeros(
            high - low + 1, np.int8
        )  # +1 where a row begins, -1 at its end
        np.add.at(edges, begin - low, 1)
        np.add.at(edges, end - low, -1)
        inside = np.cumsum(edges[:-1], dtype=np.int8).astype(bool)
        data = matrix["data"][low:high][inside].astype(np.float32)
        indices = matrix["indices"][low:high][inside].astype(np.int32)
        pointers = np.concatenate([[0], np.cumsum(end - begin)])
        yield (
            slice(start, stop),
            scipy.sparse.csr_matrix((data, indices, pointers), (stop - start, n)),
        )
        start = stop


def _joined(
    pieces: Iterator[tuple[slice, scipy.sparse.csr_matrix]], total: int, n: int
) -> scipy.sparse.csr_matrix:
    """The pieces as one matrix; each is gone before the next is read."""
    data, indices = np.empty(total, np.float32), np.empty(total, np.int32)
    pointers = [np.zeros(1, np.int64)]
    done = 0
    for _, piece in pieces:
        data[done : done + piece.nnz] = piece.data
        indices[done : done + piece.nnz] = piece.indices
        pointers.append(piece.indptr[1:].astype(np.int64) + done)
        done += piece.nnz
    joined = np.concatenate(pointers)
    counts = scipy.sparse.csr_matrix((data, indices, joined), (len(joined) - 1, n))
    counts.sum_duplicates()
    return counts


def _check_shape(path: Path, shape, n_features: int, n_barcodes: int) -> None:
    if shape == (n_features, n_barcodes):
        return
    hint = "it is transposed" if shape == (n_barcodes, n_features) else "it is damaged"
    raise SpatialError(
        f"{path}: expected a matrix of {n_features} features x {n_barcodes} barcodes, "
        f"got {shape[0]} x {shape[1]}: {hint}"
    )


def _read_mtx(folder: Path, rows: Rows | None, pool: Pool | None):
    files = {}
    for name in ("matrix.mtx", "barcodes.tsv", "features.tsv"):
        places = [folder / f"{name}.gz", folder / name]
        files[name] = next((place for place in places if place.is_file()), None)
    lacking = [name for name, file in files.items() if file is None]
    if lacking:
        raise SpatialError(
            f"{folder} lacks {', '.join(lacking)} (plain or .gz); it has "
            f"{', '.join(sorted(path.name for path in folder.iterdir())[:8]) or 'nothing'}"
        )
    table = pd.read_csv(files["features.tsv"], sep="\t", header=None, dtype=str)
    if table.shape[1] < 2:
        raise SpatialError(f"{files['features.tsv']}: expected an id and a name a line")
    features = pd.DataFrame({"id": table[0], "name": table[1].fillna("")})
    features["feature_type"] = table[2] if table.shape[1] > 2 else GENE
    barcodes = pd.read_csv(files["barcodes.tsv"], sep="\t", header=None, dtype=str)
    names = barcodes[0].to_numpy(object)
    matrix = scipy.sparse.coo_matrix(
        scipy.io.mmread(files["matrix.mtx"], spmatrix=False)
    )
    _check_shape(files["matrix.mtx"], matrix.shape, len(features), len(names))
    counts = scipy.sparse.csr_matrix(matrix.T)
    if rows is not None:
        keep = rows(names.astype("S"))
        counts, names = counts[np.flatnonzero(keep)], names[keep]
    if pool is not None:
        groups, pooled = pool(names.astype("S"))
        return into(groups, len(pooled)) @ counts, features, pooled
    return counts, features, names.tolist()
