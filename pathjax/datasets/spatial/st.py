"""Spatial transcriptomics on printed arrays: tables of counts, spots and an image.

her2st's folders, and those of Ståhl et al. and STUtility: a count table, a spot table or
transformation, and an image for each section. pathjax.datasets.her2st reads the tables.
"""

import collections
import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from pathjax.data.study import StudyError
from pathjax.datasets.her2st import geometry, source
from pathjax.datasets.her2st.section import SPOT_UM, counts_of, read_section
from pathjax.datasets.spatial.alignment import Alignment, apply, scale_of
from pathjax.datasets.spatial.image import ImageSource
from pathjax.datasets.spatial.options import SpatialOptions
from pathjax.datasets.spatial.sample import Format, Note, SpatialError, SpatialSample
from pathjax.datasets.spatial.space_ranger import images_in, only

TABLES = (".tsv", ".tsv.gz", ".txt", ".txt.gz")
SPOT_COLUMNS = {"x", "y", "pixel_x", "pixel_y"}


class Her2st(Format):
    """The unpacked her2st data, or the counts of one of its sections."""

    name = "her2st"
    needs = (
        "data/ST-cnts, data/ST-spotfiles and data/ST-imgs (or the archive's folders)"
    )

    def recognises(self, path: Path) -> bool:
        try:
            root = path if path.is_dir() else _root(path)
            return bool(source.find_sections(root))
        except StudyError:
            return False

    def samples(self, path: Path) -> list[Path]:
        if path.is_file():
            return [path]
        sections = source.find_sections(path).values()
        found = [files.counts for files in sections if files.counts]
        if not found:
            raise SpatialError(f"{path} has no counts: expected {self.needs}")
        return found

    def read(self, path: Path, options: SpatialOptions) -> SpatialSample:
        sections = source.find_sections(_root(path)).values()
        (files,) = (files for files in sections if files.counts == path)
        return read_section(files)


def _root(counts: Path) -> Path:
    """her2st's folder, from the counts of a section in either layout."""
    for pattern in source.TABLES["counts"]:
        folders = Path(pattern).parent.parts
        parents = counts.parent.parts
        if parents[len(parents) - len(folders) :] == folders:
            return counts.parents[len(folders)]
    return counts.parent


class SpotTables(Format):
    """A folder with counts, places of spots and an image for each section."""

    name = "ST"
    needs = (
        "NAME.tsv (spots such as 10x13 by genes), a table with x, y, pixel_x, pixel_y or "
        "a transformation (nine numbers) whose name has NAME in it, and NAME.jpg"
    )

    def recognises(self, path: Path) -> bool:
        if not (path.is_dir() or _is_table(path)):
            return False
        folder = path if path.is_dir() else path.parent
        return any(_places(table) for table in _tables(folder))

    def samples(self, path: Path) -> list[Path]:
        if path.is_file():
            return [path]
        found = [table for table in _tables(path) if not _places(table)]
        if not found:
            raise SpatialError(
                f"{path} has places of spots but no counts ({self.needs})"
            )
        return found

    def read(self, path: Path, options: SpatialOptions) -> SpatialSample:
        name = _section(path)
        places = _only(
            "spot table or transformation",
            [one for one in _tables(path.parent) if _places(one)],
            name,
            path.parent,
        )
        image = ImageSource.open(
            options.image or _only("image", images_in(path.parent), name, path.parent)
        )
        if _places(places) == "transformation":
            table = source.read_counts(path, source.MEASURED)
            matrix = read_transformation(places).matrix
            rows = list(range(len(table.spots)))
            pixels = apply(matrix, np.array(table.places))
            mpp = geometry.PITCH_UM / scale_of(matrix)
            names = [f"{x:g}x{y:g}" for x, y in table.places]
            left_out: list[Note] = []
        else:
            table = source.read_counts(path)
            spots, mpp, left_out = _read_spots(places)
            rows = [row for row, spot in enumerate(table.spots) if spot in spots.index]
            if not rows:
                raise SpatialError(f"{path} and {places} have no spot in common")
            if lacking := len(table.spots) - len(rows):
                reason = f"{places.name} has no usable position for them"
                left_out.append((f"{lacking} spots with counts", reason))
            kept = spots.loc[[table.spots[row] for row in rows]]
            pixels = kept[["pixel_x", "pixel_y"]].to_numpy(np.float64)
            names = None
        array = [table.spots[row] for row in rows]
        counts = counts_of(table.matrix[rows], table.genes, array, names)
        return SpatialSample(
            name=name,
            counts=counts,
            positions=pixels,
            image=image,
            mpp={"spot pitch": mpp},
            spot_um=SPOT_UM,
            technology="ST",
            left_out=tuple(left_out),
        )


def _read_spots(path: Path) -> tuple[pd.DataFrame, float, list[Note]]:
    """The spots of a table, micrometres per pixel by their pitch, and what is left out."""
    spots, notes = source.read_spots(path)
    array = np.array(spots.index.tolist())
    pixels = spots[["pixel_x", "pixel_y"]].to_numpy(np.float64)
    every_other = not (array.sum(axis=1) % 2).any()
    printed = geometry.ST_2K if every_other else geometry.ST_1K
    try:
        mpp, _ = geometry.fit_pitch(array.astype(np.float64), pixels, printed)
    except StudyError as error:
        raise SpatialError(f"{path}: {error}") from error
    reasons = collections.Counter(reason for _, reason in notes)
    left_out = [(f"{number} spots", reason) for reason, number in reasons.items()]
    return spots, mpp, left_out


def read_transformation(path: Path) -> Alignment:
    """The map from array positions to pixels that Stahl et al. published beside an image.

    Nine numbers, column after column, so that the shift is in the seventh and eighth;
    row after row is understood too.

    Raises:
      SpatialError: It is degenerate.
    """
    matrix = np.array(path.read_text().split(), np.float64).reshape(3, 3)
    by_column = np.allclose(matrix[:, 2], [0, 0, 1])
    return Alignment.of(matrix.T if by_column else matrix, path)


def _places(path: Path) -> str:
    """What a table tells of where spots are: "spots", "transformation" or nothing."""
    try:
        if set(source.read_header(path)) >= SPOT_COLUMNS:
            return "spots"
        if path.stat().st_size < 1000 and path.suffix != ".gz":
            words = path.read_text(encoding="utf-8").split()
            if len(words) == 9 and np.array(words, np.float64).size:
                return "transformation"
    except (StudyError, ValueError):
        pass
    return ""


def _tables(folder: Path) -> list[Path]:
    if not folder.is_dir():
        return []
    return sorted(path for path in folder.iterdir() if _is_table(path))


def _is_table(path: Path) -> bool:
    return path.is_file() and path.name.endswith(TABLES)


def _section(path: Path) -> str:
    """A count table's name without endings; Stahl's are NAME_count_matrix-1.tsv."""
    name = path.name.removesuffix(".gz")
    return re.sub("_count_matrix.*", "", name[: name.rindex(".")])


def _only(what: str, files: Sequence[Path], name: str, folder: Path) -> Path:
    """The one of the files that has `name` in its name."""
    matching = [file for file in files if name.lower() in file.name.lower()]
    others = (
        "" if matching else f" ({', '.join(file.name for file in files) or 'none'})"
    )
    return only(matching, f"{what} with {name} in its name", folder, others)
