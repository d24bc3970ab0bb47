"""STimage-1K4M: `coord/NAME_coord.csv`, `gene_exp/NAME_count.csv`, `image/NAME.png`.

The three folders are in a folder that names the technology (ST, Visium, VisiumHD),
which gives the distance between spots and by it the scale.
"""

from pathlib import Path

import anndata
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.csv
import scipy.sparse

from pathjax.data.tables import is_missing
from pathjax.datasets.spatial import tenx
from pathjax.datasets.spatial.image import ImageSource
from pathjax.datasets.spatial.options import SpatialOptions
from pathjax.datasets.spatial.sample import Format, SpatialError, SpatialSample
from pathjax.datasets.spatial.scale import neighbour_px
from pathjax.datasets.spatial.space_ranger import (
    images_in,
    listed,
    only,
    require_columns,
)
from pathjax.files import reading

FOLDERS = ("coord", "gene_exp", "image")
COUNTS, COORDINATES = "_count.csv", "_coord.csv"
# Distance between spots and their diameter in micrometres. Bins of Visium HD may have
# any size there.
GEOMETRY = {"ST": (200.0, 100.0), "Visium": (100.0, 55.0)}
BLOCK_BYTES = 1 << 24  # of a table of counts read at once


class STimage(Format):
    """A folder of STimage-1K4M with all its slides, or one of its count tables."""

    name = "STimage-1K4M"
    needs = "coord/NAME_coord.csv, gene_exp/NAME_count.csv and image/NAME.png"

    def recognises(self, path: Path) -> bool:
        if path.is_file():
            inside = path.parent.name == "gene_exp" and path.name.endswith(COUNTS)
            return inside and self.recognises(path.parent.parent)
        return sum((path / folder).is_dir() for folder in FOLDERS) >= 2

    def samples(self, path: Path) -> list[Path]:
        if path.is_file():
            return [path]
        found = sorted((path / "gene_exp").glob(f"*{COUNTS}"))
        if not found:
            raise SpatialError(
                f"{path} is laid out as STimage-1K4M but has no gene_exp/*{COUNTS}: "
                + listed(path)
            )
        return found

    def read(self, path: Path, options: SpatialOptions) -> SpatialSample:
        root, name = path.parent.parent, path.name.removesuffix(COUNTS)
        coordinates = read_coordinates(root / "coord" / f"{name}{COORDINATES}")
        folder = root / "image"
        own = [one for one in images_in(folder) if one.name.startswith(f"{name}.")]
        image = ImageSource.open(
            options.image
            or only(own, f"image {name}.png", folder, f": {listed(folder)}")
        )
        spots, genes, counts = read_table(path)
        place = coordinates.index.get_indexer(spots)
        keep = place >= 0
        if not keep.any():
            raise SpatialError(
                f"{path} and its coordinates have no spot in common: {spots[0]}, "
                f"{coordinates.index[0]}"
            )
        xy = coordinates[["xaxis", "yaxis"]].to_numpy(np.float64)[place]
        finite = np.isfinite(xy).all(axis=1)
        left_out = []
        if not keep.all():
            left_out.append((f"{(~keep).sum()} spots with counts", "no coordinates"))
        if not finite[keep].all():
            number = (~finite[keep]).sum()
            left_out.append((f"{number} spots", "their position is no number"))
        keep &= finite
        if not keep.any():
            raise SpatialError(f"{path}: no position of a spot is a number")
        names = [spot.removeprefix(f"{name}_") for spot in spots]
        xy, technology = xy[keep], root.name
        pitch_um, spot_um = GEOMETRY.get(technology, (None, options.spot_um or 0.0))
        return SpatialSample(
            name=name,
            counts=anndata.AnnData(
                X=counts[np.flatnonzero(keep)],
                obs=pd.DataFrame(index=np.array(names, object)[keep]),
                var=tenx.gene_table(genes, genes),
            ),
            positions=xy,
            image=image,
            mpp={"spot pitch": pitch_um / neighbour_px(xy)} if pitch_um else {},
            spot_um=spot_um,
            technology="Visium HD" if technology == "VisiumHD" else technology,
            left_out=tuple(left_out),
        )


def read_coordinates(path: Path) -> pd.DataFrame:
    """xaxis and yaxis by spot, in pixels; NaN where they are no numbers.

    Raises:
      SpatialError: The file is missing or empty, lacks a column, or names a spot twice.
    """
    if not path.is_file():
        raise SpatialError(f"{path} does not exist")
    with reading(path, SpatialError):
        table = pd.read_csv(path, index_col=0, dtype=str)
    require_columns(path, list(table), ("xaxis", "yaxis"))
    if table.index.has_duplicates:
        twice = table.index[table.index.duplicated()][0]
        raise SpatialError(f"{path} names the spot {twice} twice")
    numbers = table[["xaxis", "yaxis"]].apply(pd.to_numeric, errors="coerce")
    return numbers.astype(np.float64)


def read_table(path: Path) -> tuple[list[str], list[str], scipy.sparse.csr_matrix]:
    """Spots, genes and counts of a table, read in blocks.

    Raises:
      SpatialError: It is empty or damaged, or has other values than whole counts.
    """
    spots: list[str] = []
    parts = []
    with reading(path, SpatialError, "a table of spots by genes"):
        with open(path, "rb") as file:
            header = file.readline()
        if not header:
            raise SpatialError(f"{path} is empty")
        first = header.decode("utf-8-sig").rstrip("\r\n").split(",")
        genes = [name.strip('"') for name in first[1:]]
        # Columns by number: symbols may occur twice.
        names = ["spot", *map(str, range(len(genes)))]
        types = dict.fromkeys(names[1:], pa.float32()) | {"spot": pa.string()}
        reader = pyarrow.csv.open_csv(
            path,
            read_options=pyarrow.csv.ReadOptions(
                column_names=names, skip_rows=1, block_size=BLOCK_BYTES
            ),
            convert_options=pyarrow.csv.ConvertOptions(column_types=types),
        )
        with reader:
            for batch in reader:
                spots += batch.column(0).to_pylist()
                columns = [column.to_numpy(False) for column in batch.columns[1:]]
                parts.append(scipy.sparse.csr_matrix(np.column_stack(columns)))
    if any(spot is None or is_missing(spot) for spot in spots):
        raise SpatialError(f"{path} has spots without a name")
    return spots, genes, scipy.sparse.csr_matrix(scipy.sparse.vstack(parts))
