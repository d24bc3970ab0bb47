"""The sets that eva and our probe are compared on, each as both read it.

    real tiles, or drawn numbers -> ProbeSet -> write_set -> embeddings.h5 (ours)
                                                             manifest.csv  (both)
                                                             features.npy  (for eva)
                                                             about.json    (sizes)

Embeddings are not a model's: block means of a tile's colours. Whether two programs fit
the same layer does not hang on what the numbers mean, and no weights are needed. They
are centred by the train rows and brought to a standard deviation of about 1.

`manifest.csv` is eva's: origin, embeddings, target, split. The .pt files that it names
are written by eva's side (eva_peer.py), because only PyTorch writes them.
"""

import csv
import dataclasses
import hashlib
import json
import os
import tempfile
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Bool, Float, Int

from pathjax.bench.options import BenchError
from pathjax.files import write_json

COLUMNS = ("origin", "embeddings", "target", "split")
LEAST = 20  # val spots of a cluster of her2st; one of 5 would be 3 points of 100


@dataclasses.dataclass(frozen=True)
class ProbeSet:
    """Embeddings with classes and two folds. It is a `TileSource` as far as written.

    Attributes:
      name, note: the latter says what the rows are.
      tile_id: one name a row, each once.
      features: of all rows.
      target: class numbers.
      train: rows that are fitted on; the others are val.
    """

    name: str
    note: str
    tile_id: Sequence[str]
    features: Float[np.ndarray, "N E"]
    target: Int[np.ndarray, "N"]
    train: Bool[np.ndarray, "N"]

    kind = "images"

    @property
    def classes(self) -> int:
        return int(self.target.max()) + 1

    @property
    def fingerprint(self) -> str:
        return hashlib.sha256(np.ascontiguousarray(self.features)).hexdigest()

    def __len__(self) -> int:
        return len(self.target)

    def tile_ids(self, rows: Int[np.ndarray, "n"]) -> list[str]:
        return [self.tile_id[row] for row in rows]

    def coords(self, rows: Int[np.ndarray, "n"]) -> Int[np.ndarray, "n 2"]:
        return np.zeros((len(rows), 2), np.int64)

    def attributes(self, sizes: Collection[tuple[int, int]] = ()) -> dict[str, Any]:
        return {"name": self.name}


def block_means(
    tiles: Sequence[np.ndarray], train: Bool[np.ndarray, "N"], count: int = 10
) -> Float[np.ndarray, "N E"]:
    """Mean colours of count x count blocks, centred, with one scale for all."""
    rows = []
    for tile in tiles:
        side = len(tile) // count
        cut = tile[: count * side, : count * side]
        cut = cut.reshape(count, side, count, side, 3)
        rows.append(cut.mean(axis=(1, 3)).ravel())
    x = np.array(rows)
    x = (x - x[train].mean(axis=0)) / x[train].std(axis=0).mean()
    return x.astype(np.float32)


def idc_patches(data: Path) -> ProbeSet:
    """Tiles of one patient, half of them val: it measures agreement, no model.

    Tiles at the slide's border, which are smaller than 50 px, are left out.
    """
    from PIL import Image

    kept: dict[str, np.ndarray] = {}
    for path in sorted((data / "idc_patches").glob("**/*_class[01].png")):
        with Image.open(path) as image:
            tile = np.asarray(image.convert("RGB"))
        if tile.shape == (50, 50, 3):
            kept[path.stem] = tile
    if not kept:
        raise BenchError(f"{data} has no idc_patches/**/*_class[01].png")
    train = np.zeros(len(kept), bool)
    train[np.random.default_rng(0).permutation(len(kept))[: len(kept) // 2]] = True
    return ProbeSet(
        "idc",
        "IDC or not, tiles of 1 patient, halves at random",
        list(kept),
        block_means(list(kept.values()), train),
        np.array([int(name[-1]) for name in kept]),
        train,
    )


def her2st(data: Path) -> ProbeSet:
    """Expression clusters of patient C from tiles: sections C2 to C4, then C5.

    Clusters with fewer than LEAST spots in C5 are left out.
    """
    from pathjax.data.images import decode_tile
    from pathjax.datasets.her2st import build_her2st

    with tempfile.TemporaryDirectory(prefix="pathjax-bench-") as folder:
        study = build_her2st(data / "her2st", Path(folder) / "her2st")
        folds = [study.fold_samples("c_sections", f) for f in ("train", "new_section")]
        cluster = study.samples["cluster"]
        often = cluster.iloc[folds[1]].value_counts()
        names = sorted(often.index[often >= LEAST])
        folds = [[i for i in fold if cluster.iloc[i] in names] for fold in folds]
        rows = np.concatenate(folds).astype(int)
        # A spot has one tile, in the order of samples.
        tiles = [decode_tile(one) for one in study.tile_bytes(rows)]
        ids = study.tiles["tile_id"].iloc[rows].tolist()
    train = np.arange(len(rows)) < len(folds[0])
    return ProbeSet(
        "her2st",
        f"{len(names)} clusters, sections C2 to C4, then C5",
        ids,
        block_means(tiles, train),
        np.array([names.index(cluster.iloc[row]) for row in rows]),
        train,
    )


def generated(rows: int, val_rows: int, width: int) -> ProbeSet:
    """Two classes by a linear rule with noise; the rule itself is right in 6 of 7."""
    rng = np.random.default_rng(0)
    rule = rng.normal(size=width) / np.sqrt(width)
    x = rng.normal(size=(rows + val_rows, width)).astype(np.float32)
    return ProbeSet(
        "generated",
        "2 classes by a noisy linear rule",
        [f"row_{row}" for row in range(len(x))],
        x,
        (x @ rule + rng.normal(0, 0.5, len(x)) > 0).astype(int),
        np.arange(len(x)) < rows,
    )


def find_data(named: str) -> Path:
    """The folder with her2st/ and idc_patches/.

    Raises:
      BenchError: none is named, or it is not there.
    """
    folder = named or os.environ.get("PATHJAX_TEST_DATA", "")
    if not folder or not Path(folder).is_dir():
        raise BenchError(
            f"data={folder or None}: wanted the folder that has her2st/ and "
            "idc_patches/; name it, set PATHJAX_TEST_DATA, or give "
            "--config.parts=generated,time"
        )
    return Path(folder)


def write_set(folder: Path, one: ProbeSet) -> None:
    """Writes a set as both contestants read it, into a new folder."""
    from pathjax.embeddings.embedding_file import write_file

    folder.mkdir(parents=True)
    every = np.arange(len(one))
    write_file(
        folder / "embeddings.h5",
        [one.features],
        one,
        every,
        {"model": one.note},
        width=one.features.shape[1],
        attributes=one.attributes(),
    )
    np.save(folder / "features.npy", one.features)
    with (folder / "manifest.csv").open("w", encoding="utf-8", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(COLUMNS)
        for name, target, train in zip(
            one.tile_ids(every), one.target, one.train, strict=True
        ):
            split = "train" if train else "val"
            rows.writerow((f"{name}.png", f"{name}.pt", target, split))
    about = {
        "note": one.note,
        "classes": one.classes,
        "width": one.features.shape[1],
        "train_rows": int(one.train.sum()),
        "val_rows": int((~one.train).sum()),
    }
    write_json(folder / "about.json", about)


def read_about(folder: Path) -> dict[str, Any]:
    """Classes and sizes of a set that was written."""
    return json.loads((folder / "about.json").read_text())
