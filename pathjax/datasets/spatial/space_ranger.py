"""Files that Visium and Visium HD share: positions, scale factors and the image.

Space Ranger 1 wrote `tissue_positions_list.csv` without a header, 2 to 4 write
`tissue_positions.csv` with one, and Visium HD a Parquet file.
"""

import dataclasses
import functools
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import anndata
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq
from PIL import Image

from pathjax.datasets.spatial.image import ImageSource
from pathjax.datasets.spatial.pictures import Reduced, require_full_size
from pathjax.datasets.spatial.sample import SpatialError
from pathjax.files import read_json, reading
from pathjax.wsi.base import IMAGE_SUFFIXES, SUFFIXES

POSITION_FILES = (
    "tissue_positions.parquet",
    "tissue_positions.csv",
    "tissue_positions_list.csv",
)
COLUMNS = {
    "barcode": pa.string(),
    "in_tissue": pa.float64(),
    "array_row": pa.float64(),
    "array_col": pa.float64(),
    "pxl_row_in_fullres": pa.float64(),
    "pxl_col_in_fullres": pa.float64(),
}
# Names of Space Ranger's own pictures: reduced, or with something drawn on them.
NOT_FULL = ("hires", "lowres", "detected_tissue", "aligned", "cytassist", "qc_", "_qc")
REDUCED = {"hires": "tissue_hires_image.png", "lowres": "tissue_lowres_image.png"}
BATCH = 1 << 20  # rows of a Parquet file held at once


@dataclasses.dataclass(frozen=True)
class SpatialFolder:
    """The folder `spatial/` of an output, and what its scale factors say.

    Attributes:
      path: The folder with positions and scale factors.
      factors: scalefactors_json.json.
    """

    path: Path
    factors: dict[str, float]

    @classmethod
    def open(cls, output: Path) -> "SpatialFolder":
        """That of an output folder; the files may lie in the folder itself.

        Raises:
          SpatialError: The scale factors are missing or damaged.
        """
        path = output / "spatial" if (output / "spatial").is_dir() else output
        file = path / "scalefactors_json.json"
        if not file.is_file():
            raise SpatialError(f"{path} lacks scalefactors_json.json: {listed(path)}")
        with reading(file, SpatialError, "scale factors"):
            factors = read_json(file, dict)
        numbers = {
            key: float(value)
            for key, value in factors.items()
            if isinstance(value, int | float) and math.isfinite(value) and value > 0
        }
        return cls(path, numbers)

    def positions(self) -> pd.DataFrame:
        """The spots in tissue by barcode: array_row, array_col, x, y.

        Read in batches: Visium HD has 11 million bins of 2 um.

        Raises:
          SpatialError: There is no such file, or it lacks a column.
        """
        files = [self.path / name for name in POSITION_FILES]
        file = next((file for file in files if file.is_file()), None)
        if file is None:
            raise SpatialError(
                f"{self.path} lacks the positions ({', '.join(POSITION_FILES)}): "
                + listed(self.path)
            )
        with reading(file, SpatialError):
            header = True
            if file.suffix != ".parquet":
                with open(file, encoding="utf-8-sig") as text:
                    header = "barcode" in text.readline()
            batches = table_batches(file, COLUMNS, header=header)
            frames = [batch[batch["in_tissue"] == 1] for batch in batches]
            table = pd.concat(frames, ignore_index=True)
        if table.empty:
            raise SpatialError(f"{file} marks no spot as in tissue (in_tissue 1)")
        table = table.drop(columns="in_tissue").rename(
            columns={"pxl_row_in_fullres": "y", "pxl_col_in_fullres": "x"}
        )
        twice = table["barcode"].duplicated()
        if twice.any():
            raise SpatialError(
                f"{file} has {twice.sum()} barcodes twice, first "
                f"{table['barcode'][twice].iloc[0]}"
            )
        return table.set_index("barcode")

    def fiducial_mpp(self, fiducial_um: float) -> dict[str, float]:
        """Micrometres per pixel that the fiducials' diameter gives."""
        diameter = self.factors.get("fiducial_diameter_fullres")
        return {"scale factors": fiducial_um / diameter} if diameter else {}

    @functools.cached_property
    def reduced(self) -> dict[str, Reduced]:
        """The reduced images that have a scale factor, by kind ("hires", "lowres")."""
        return {
            kind: Reduced(_size(self.path / name), factor)
            for kind, name in REDUCED.items()
            if (factor := self._factor(kind)) and (self.path / name).is_file()
        }

    def _factor(self, kind: str) -> float | None:
        return self.factors.get(f"tissue_{kind}_scalef")

    def open_image(self, chosen: str | None, output: Path) -> tuple[ImageSource, float]:
        """The image to use, and its pixels per pixel of the positions' frame.

        Args:
          chosen: A path, "hires", "lowres", or None to search.
          output: Space Ranger's output folder: searched, and the folder around it.

        Raises:
          SpatialError: No image, several, or one of another size.
        """
        if chosen in REDUCED:
            factor = self._factor(chosen)
            path = self.path / REDUCED[chosen]
            if factor is None or not path.is_file():
                raise SpatialError(
                    f"{self.path} lacks {REDUCED[chosen]} or tissue_{chosen}_scalef"
                )
            return ImageSource.open(path, f"{chosen} image of Space Ranger"), factor
        path = Path(chosen) if chosen else self._find(output)
        image = ImageSource.open(path)
        try:
            require_full_size(path, image.size, self.reduced)
        except SpatialError:
            image.close()
            raise
        return image, 1.0

    def _find(self, output: Path) -> Path:
        """The only image in or beside the output that has the full size."""
        folders = [output, output / "spatial"]
        if output.name == "outs":
            folders.append(output.parent)
        candidates = sorted(
            path
            for path in {path for folder in folders for path in images_in(folder)}
            if not any(word in path.name.lower() for word in NOT_FULL)
        )
        fitting = [
            path
            for path in candidates
            if all(one.fits(_size(path)) for one in self.reduced.values())
        ]
        if fitting:
            advice = ": name one by --image or in the manifest's column image"
            return only(fitting, "full-resolution image", output, advice)
        has = [kind for kind, name in REDUCED.items() if (self.path / name).is_file()]
        reduced = f"it has only {' and '.join(has)}, which are reduced" if has else ""
        others = f"of another size: {', '.join(p.name for p in candidates)}"
        reasons = "; ".join(filter(None, [reduced, others if candidates else ""]))
        raise SpatialError(
            f"{output} has no full-resolution image ({reasons or 'no image at all'}): "
            "give the one that Space Ranger was run with by --image or in the "
            "manifest's column image"
            + (f", or use the reduced one by --image {has[0]}" if has else "")
        )


def output_folder(path: Path) -> Path:
    """Space Ranger's output: the path, or `outs` in it."""
    return path / "outs" if (path / "outs").is_dir() else path


def sample_name(path: Path) -> str:
    """The folder's name; that of its parent for `outs`."""
    path = path.resolve()
    return path.parent.name if path.name == "outs" else path.name


def listed(folder: Path) -> str:
    """What a folder has, for an error."""
    if not folder.is_dir():
        return f"{folder} is no folder"
    names = sorted(path.name for path in folder.iterdir())
    more = f" and {len(names) - 8} more" if len(names) > 8 else ""
    return f"it has {', '.join(names[:8]) or 'nothing'}{more}"


def one_of(folder: Path, names: Sequence[str]) -> Path:
    """The first of the files or folders that is there.

    Raises:
      SpatialError: None is.
    """
    for name in names:
        if (folder / name).exists():
            return folder / name
    raise SpatialError(f"{folder} lacks {names[0]}: {listed(folder)}")


def images_in(folder: Path) -> list[Path]:
    """Its images by the ending of their names, sorted, without hidden files."""
    return sorted(
        path
        for path in folder.glob("*")
        if path.suffix.lower() in SUFFIXES and not path.name.startswith(".")
    )


def only(paths: Sequence[Path], what: str, where: object, advice: str = "") -> Path:
    """The only one of some paths.

    Args:
      paths: Those that could be it.
      what, where: Such as "image" and the folder, for the error.
      advice: Ends the error.

    Raises:
      SpatialError: There is none, or several, which are named.
    """
    if len(paths) == 1:
        return paths[0]
    names = ", ".join(path.name for path in paths)
    raise SpatialError(
        f"{where}: expected one {what}, got {len(paths)}{names and f' ({names})'}{advice}"
    )


def match_barcodes(
    counts_of, positions: pd.DataFrame, where: Path
) -> tuple[anndata.AnnData, list[tuple[str, str]]]:
    """Counts of the spots that have a usable position, and what is left out.

    Args:
      counts_of: Reads (AnnData, left out) of the barcodes that a function accepts.
      positions: By barcode, with x and y.
      where: Named in errors.

    Raises:
      SpatialError: No barcode has both.
    """
    finite = np.isfinite(positions[["x", "y"]]).all(axis=1)
    placed = positions[finite]
    known = np.sort(placed.index.to_numpy().astype("S"))
    seen: dict[str, Any] = {"kept": 0}

    def rows(barcodes: np.ndarray) -> np.ndarray:
        seen["first"], seen["number"] = barcodes[:1], len(barcodes)
        if not len(known):
            return np.zeros(len(barcodes), bool)
        place = np.minimum(np.searchsorted(known, barcodes), len(known) - 1)
        kept = known[place] == barcodes
        seen["kept"] = int(kept.sum())
        return kept

    counts, left_out = counts_of(rows)
    if not len(placed):
        raise SpatialError(f"{where}: no position of a spot in tissue is a number")
    if not seen["kept"]:
        first = seen["first"][0].decode() if len(seen["first"]) else "none"
        raise SpatialError(
            f"{where}: the matrix and the positions have no barcode in common: "
            f"{seen['number']} such as {first}, and {len(placed)} such as "
            f"{placed.index[0]}: are they of one sample?"
        )
    if not finite.all():
        left_out.append((f"{(~finite).sum()} spots", "their position is no number"))
    without = seen["number"] - seen["kept"]
    if without:
        left_out.append((f"{without} barcodes", "no position under tissue"))
    lacking = len(placed) - seen["kept"]
    if lacking:
        left_out.append((f"{lacking} spots in tissue", "not in the matrix"))
    return counts, left_out


def table_batches(
    file: Path, types: Mapping[str, pa.DataType], *, header: bool = True
) -> Iterator[pd.DataFrame]:
    """Some columns of a Parquet or CSV file (packed or not), a part of it at a time.

    Args:
      file: Parquet by its ending; its types are as they are.
      types: Of the columns to read.
      header: Whether a CSV file names its columns; else they are those of `types`.

    Raises:
      SpatialError: It is damaged, or lacks a column.
    """
    with reading(file, SpatialError):
        if file.suffix == ".parquet":
            with pq.ParquetFile(file) as parquet:
                require_columns(file, parquet.schema_arrow.names, types)
                for batch in parquet.iter_batches(BATCH, columns=list(types)):
                    yield batch.to_pandas()
            return
        read = pyarrow.csv.ReadOptions(
            column_names=None if header else list(types), block_size=1 << 24
        )
        with pyarrow.csv.open_csv(file, read_options=read) as csv:
            require_columns(file, csv.schema.names, types)
        # Others are not parsed: their type may change in the course of the file.
        convert = pyarrow.csv.ConvertOptions(
            column_types=types, include_columns=list(types)
        )
        with pyarrow.csv.open_csv(
            file, read_options=read, convert_options=convert
        ) as csv:
            for batch in csv:
                yield batch.to_pandas()


def require_columns(file: Path, names: Sequence[str], columns: Iterable[str]) -> None:
    """Raises SpatialError where `names`, those of a file, lack one of `columns`."""
    lacking = [name for name in columns if name not in names]
    if lacking:
        raise SpatialError(
            f"{file} lacks the columns {', '.join(lacking)}; it has {', '.join(names)}"
        )


def _size(path: Path) -> tuple[int, int]:
    """Width and height; of plain images from the header alone."""
    if path.suffix.lower() in IMAGE_SUFFIXES:
        try:
            with Image.open(path) as image:
                return image.size
        except (OSError, ValueError, Image.DecompressionBombError) as error:
            raise SpatialError(f"{path} is no image ({error})") from error
    image = ImageSource.open(path)
    size = image.size
    image.close()
    return size
