"""A vector per sample from another model, such as a foundation model of genes.

    FILE.h5ad     obsm[KEY] by obs_names
    FILE.npz      array KEY [n, X] by array sample_id [n]
    FILE.parquet  all other columns by column sample_id

Reads and matches by sample id; runs no model.
"""

import collections
import dataclasses
from collections.abc import Sequence
from pathlib import Path

import anndata
import h5py
import numpy as np
import pandas as pd
import scipy.sparse
from jaxtyping import Bool, Float

from pathjax.buckets import local
from pathjax.data.study import StudyError
from pathjax.files import reading
from pathjax.registry import did_you_mean

ID = "sample_id"


@dataclasses.dataclass(frozen=True)
class Vectors:
    """Vectors of samples.

    Attributes:
      sample_ids: The sample of each row; unique.
      values: `[n, X]` float32, finite.
    """

    sample_ids: list[str]
    values: Float[np.ndarray, "n X"]

    def align(
        self, sample_ids: Sequence[str]
    ) -> tuple[Float[np.ndarray, "m X"], Bool[np.ndarray, "m"]]:
        """Rows of m samples, zeros without a vector; and which have one."""
        at = pd.Index(self.sample_ids).get_indexer(list(sample_ids))
        out = np.zeros((len(at), self.values.shape[1]), np.float32)
        out[at >= 0] = self.values[at[at >= 0]]
        return out, at >= 0

    def problems(self) -> list[str]:
        """What is wrong with the ids or the values."""
        ids, values = list(self.sample_ids), np.asarray(self.values)
        if values.ndim != 2 or not values.size or len(ids) != len(values):
            return [f"expected [n, X] for {len(ids)} samples, got {list(values.shape)}"]
        found = []
        if len(bad := np.flatnonzero(~np.isfinite(values).all(axis=1))):
            named = [ids[i] for i in bad[:3]]
            found.append(f"{len(bad)} rows are not finite, first {named}")
        if twice := [one for one, n in collections.Counter(ids).items() if n > 1]:
            found.append(f"{len(twice)} sample ids occur twice, first {twice[:3]}")
        return found


def read_vectors(path: Path, key: str = "") -> Vectors:
    """Reads a file of vectors.

    Args:
      path: As in the module's docstring.
      key: Of obsm, or of the array; "" where there is only one.

    Raises:
      StudyError: It is not such a file, or ids are repeated or values not finite.
    """
    path = local(path)
    readers = {".h5ad": _h5ad, ".npz": _npz, ".parquet": _parquet}
    reader = readers.get(path.suffix)
    if reader is None:
        raise StudyError(f"{path}: expected a file .h5ad, .npz or .parquet")
    with reading(path, StudyError, "vectors of samples"):
        ids, values = reader(path, key)
        names = [one.decode() if isinstance(one, bytes) else str(one) for one in ids]
        made = Vectors(names, np.asarray(values, np.float32))
    if problems := made.problems():
        raise StudyError(f"{path}: {'; '.join(problems)}")
    return made


def _chosen(path: Path, key: str, known: Sequence[str], what: str) -> str:
    """The name of the array: as asked for, or the only one."""
    if key in known:
        return key
    if not key and len(known) == 1:
        return known[0]
    hint = did_you_mean(key, known) if known else "it has none"
    raise StudyError(f"{path} has no {what} {key!r}: set key; {hint}")


def _h5ad(path: Path, key: str):
    with h5py.File(path) as file:
        # Only what is asked for: the matrix may be large.
        obsm = file.get("obsm", {})
        values = anndata.io.read_elem(obsm[_chosen(path, key, list(obsm), "obsm")])
        obs = anndata.io.read_elem(file["obs"])
    dense = values.toarray() if scipy.sparse.issparse(values) else values
    return obs.index, dense


def _npz(path: Path, key: str):
    with open(path, "rb") as raw, np.load(raw, allow_pickle=False) as file:
        known = [name for name in file.files if name != ID]
        if ID not in file.files:
            raise StudyError(f"{path}: expected an array {ID}, got {known}")
        return file[ID], file[_chosen(path, key, known, "array")]


def _parquet(path: Path, key: str):
    if key:
        raise StudyError(f"{path}: key={key!r} is for .h5ad and .npz: leave it empty")
    table = pd.read_parquet(path)
    if ID in table:
        table = table.set_index(ID)
    elif table.index.name != ID:
        raise StudyError(
            f"{path}: expected a column {ID}, got {list(table.columns[:5])}"
        )
    return table.index, table.to_numpy()
