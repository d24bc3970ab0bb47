"""her2st's files: which belong to a section, and what their tables say.

Two layouts are known: the repository's (almaan/her2st) and that of the four archives of
Zenodo record 3957257, unpacked next to each other. Tables may be gzipped. A section
without an image in full resolution may have the reduced copy that the authors' viewer
shows (app/www/imgs/): the same frame, fewer pixels, the background blanked to black and
a small annotated map pasted into the upper right corner.

The tables have readers of their own, because a table library would rename duplicated
gene symbols and fill or shift ragged rows silently. A position or label that cannot be
used becomes a note (what, reason); a file that cannot be used raises SpatialError.
Nothing is joined here.
"""

import dataclasses
import gzip
import itertools
import re
from pathlib import Path

import numpy as np
import pandas as pd
import scipy.sparse

from pathjax.data.study import StudyError
from pathjax.datasets.spatial.sample import Note, SpatialError
from pathjax.files import reading

SECTION = re.compile(r"[A-Z][1-9][0-9]?")  # patient letter, number of the section
# Array position of a spot; Stahl's files have it measured, as 16.92x9.015.
SPOT = re.compile(r"(\d+)x(\d+)")
MEASURED = re.compile(r"(\d+(?:\.\d+)?)x(\d+(?:\.\d+)?)")
TABLES = {
    "counts": ("data/ST-cnts/{s}.tsv", "count-matrices/{s}.tsv"),
    "spots": (
        "data/ST-spotfiles/{s}_selection.tsv",
        "spot-selections/{s}_selection.tsv",
    ),
    "pathologist": (
        "data/ST-pat/lbl/{s}_labeled_coordinates.tsv",
        "meta/{s}_labeled_coordinates.tsv",
    ),
    "cluster": ("res/ST-cluster/lbl/{s}-cluster-annotation.tsv",),
}
IMAGES = ("data/ST-imgs/{p}/{s}/*", "images/HE/{s}.*")
VIEWER_IMAGES = ("app/www/imgs/{s}_HE_image_dark.*",)
IMAGE_ENDINGS = (".jpg", ".jpeg", ".png")

Row = list[str]
Spot = tuple[int, int]  # array column x and row y, as in the counts' row names


@dataclasses.dataclass(frozen=True)
class SectionFiles:
    """The files of one section, None where missing.

    A usable section has exactly one image in full resolution, or one of the authors'
    viewer.
    """

    section: str
    counts: Path | None
    spots: Path | None
    pathologist: Path | None
    cluster: Path | None
    images: tuple[Path, ...]
    viewer_images: tuple[Path, ...]

    @property
    def patient(self) -> str:
        return self.section[0]

    def table(self, kind: str) -> Path:
        """The table of `kind` ("counts" or "spots").

        Raises:
          SpatialError: it is missing; the message lists the places searched.
        """
        path = getattr(self, kind)
        if path is None:
            places = " or ".join(f"{p}[.gz]" for p in TABLES[kind])
            raise SpatialError(
                f"no {kind} file: expected {places.format(s=self.section)}"
            )
        return path

    def image(self, *, viewer: bool = True) -> tuple[Path, bool]:
        """The image, and whether it is the viewer's reduced copy (if `viewer`).

        Raises:
          SpatialError: no image, or several and no rule to choose.
        """
        images = self.images or (self.viewer_images if viewer else ())
        if len(images) == 1:
            return images[0], not self.images
        if images:
            raise SpatialError(
                f"expected one image, got {len(images)}: "
                f"{', '.join(map(str, images))}; remove the others"
            )
        places = " or ".join(IMAGES + (VIEWER_IMAGES if viewer else ()))
        extra = ""
        if self.viewer_images:
            extra = f"; {self.viewer_images[0]} is a reduced copy, too coarse here"
        raise SpatialError(
            f"no image: expected {places.format(p=self.patient, s=self.section)}{extra}"
        )


def find_sections(source: str | Path) -> dict[str, SectionFiles]:
    """All sections that have counts, spots or an image, by name, sorted.

    Raises:
      StudyError: the folder does not exist or has no section.
    """
    source = Path(source)
    if not source.is_dir():
        raise StudyError(
            f"no folder {source}: expected the unpacked her2st data, a clone of "
            "github.com/almaan/her2st or the archives of Zenodo record 3957257"
        )
    names = [path.name for path in source.glob("data/ST-imgs/*/*")]
    names += [path.stem for path in source.glob("images/HE/*")]
    for pattern in TABLES["counts"] + TABLES["spots"]:
        suffix = pattern.split("{s}")[1]
        for path in source.glob(pattern.format(s="*") + "*"):
            names.append(path.name.removesuffix(".gz").removesuffix(suffix))
    names = sorted({name for name in names if SECTION.fullmatch(name)})
    if not names:
        places = ", ".join(p.format(s="*") for p in TABLES["counts"])
        raise StudyError(
            f"{source} holds no her2st section: expected files such as {places} "
            "(gzipped or not)"
        )
    return {name: _files(source, name) for name in names}


def choose_sections(
    source: str | Path, sections: tuple[str, ...] | None
) -> list[SectionFiles]:
    """The files of the named sections, or of all for None.

    Raises:
      StudyError: a section does not exist.
    """
    files = find_sections(source)
    if sections is None:
        return list(files.values())
    unknown = [name for name in sections if name not in files]
    if unknown or not sections:
        raise StudyError(
            f"{source} has no section {', '.join(unknown) or '(none given)'}; it has "
            f"{', '.join(files)}"
        )
    return [files[name] for name in dict.fromkeys(sections)]


def _files(source: Path, section: str) -> SectionFiles:
    def images(patterns: tuple[str, ...]) -> tuple[Path, ...]:
        paths = [
            path
            for pattern in patterns
            for path in source.glob(pattern.format(p=section[0], s=section))
        ]
        # Archives packed on a Mac have "._name" companions that are no images.
        return tuple(
            sorted(
                path
                for path in paths
                if path.suffix.lower() in IMAGE_ENDINGS
                and not path.name.startswith(".")
            )
        )

    tables = {}
    for kind, patterns in TABLES.items():
        # The gzipped file is the published one, so it comes before an unzipped copy.
        places = [
            source / (pattern.format(s=section) + ending)
            for pattern in patterns
            for ending in (".gz", "")
        ]
        tables[kind] = next((path for path in places if path.is_file()), None)
    return SectionFiles(
        section, images=images(IMAGES), viewer_images=images(VIEWER_IMAGES), **tables
    )


@dataclasses.dataclass(frozen=True)
class Counts:
    """One section's counts: `matrix` is `[spots, genes]` float32, whole numbers.

    `spots` are array positions, `places` the same as measured. `genes` may be repeated.
    """

    spots: list[Spot]
    places: list[tuple[float, float]]
    genes: list[str]
    matrix: scipy.sparse.csr_matrix


def spot_name(spot: Spot) -> str:
    """The upstream name of a spot, such as "10x13"."""
    return f"{spot[0]}x{spot[1]}"


def _read(path: Path, required: tuple[str, ...] = ()) -> tuple[list[str], list[Row]]:
    """Header and rows; the header gets a name for R's nameless row names."""
    lines = _lines(path)
    if len(lines) < 2:
        raise SpatialError(
            f"{path}: expected a header and rows, got {len(lines)} lines"
        )
    header, *rows = lines
    if all(len(fields) == len(header) + 1 for fields in rows):
        header = ["", *header]
    for number, fields in enumerate(rows, start=2):
        if len(fields) != len(header):
            raise SpatialError(
                f"{path} line {number}: expected {len(header)} fields as in the header, "
                f"got {len(fields)}"
            )
    missing = [name for name in required if name not in header]
    if missing:
        raise SpatialError(
            f"{path} lacks the columns {', '.join(missing)}; it has {', '.join(header)}"
        )
    return header, rows


def read_header(path: Path) -> list[str]:
    """The first line; none of an empty file.

    Raises:
      SpatialError: the file cannot be read.
    """
    return next(iter(_lines(path, 1)), [])


def _lines(path: Path, most: int | None = None) -> list[Row]:
    """The fields of the lines that are not empty, of all or the first ones."""
    opened = gzip.open if path.suffix == ".gz" else open
    with (
        reading(path, SpatialError, advice="download or unpack it again"),
        opened(path, "rt", encoding="utf-8-sig") as file,
    ):
        lines = [line.rstrip("\n") for line in itertools.islice(file, most)]
    return [[f.strip().strip('"') for f in line.split("\t")] for line in lines if line]


def read_counts(path: Path, spot: re.Pattern[str] = SPOT) -> Counts:
    """Reads a table of spots by genes.

    Raises:
      SpatialError: the file cannot be read, or a row is not a spot with its counts.
    """
    header, rows = _read(path)
    symbols = header[1:]
    places: list[tuple[float, float]] = []
    counts: list[scipy.sparse.csr_matrix] = []
    for number, (name, *fields) in enumerate(rows, start=2):
        match = spot.fullmatch(name)
        try:
            values = np.array(fields, np.float64)
        except ValueError:
            values = np.array([np.nan])
        whole = np.isfinite(values) & (values >= 0) & (values == np.floor(values))
        if match is None or not whole.all():
            hint = ""
            if match is None and spot.fullmatch(symbols[0]):
                hint = ": the table is transposed, put spots into rows"
            raise SpatialError(
                f"{path} line {number}: expected a spot such as 10x13 and whole counts, "
                f"got {name} with values that are not{hint}"
            )
        places.append((float(match[1]), float(match[2])))
        counts.append(scipy.sparse.csr_matrix(values.astype(np.float32)))
    if len(set(places)) < len(places):
        raise SpatialError(f"{path} has a spot more than once")
    spots = [(round(x), round(y)) for x, y in places]
    return Counts(spots, places, symbols, scipy.sparse.vstack(counts, format="csr"))


def _read_numbers(
    path: Path, required: tuple[str, ...], optional: tuple[str, ...] = ()
) -> tuple[pd.DataFrame, list[Note]]:
    """The table with the named columns as numbers; rows without numbers are noted."""
    header, rows = _read(path, required)
    table = pd.DataFrame(rows, columns=header, index=np.arange(2, len(rows) + 2))
    columns = [name for name in required + optional if name in header]
    columns = [name for name in columns if name != "label"]
    table[columns] = table[columns].apply(pd.to_numeric, errors="coerce")
    finite = np.isfinite(table[columns]).all(axis=1)
    notes = [
        (f"line {line}", f"{path.name} line {line}: {', '.join(columns)}: not numbers")
        for line in table.index[~finite]
    ]
    return table[finite], notes


def read_spots(path: Path) -> tuple[pd.DataFrame, list[Note]]:
    """Spot positions: index (x, y), columns pixel_x, pixel_y and, if given, new_x/y.

    Rows marked as outside the tissue (selected 0), without numbers or repeated are left
    out and noted.

    Raises:
      SpatialError: the file cannot be read, lacks a column, or has no usable row.
    """
    table, notes = _read_numbers(
        path, ("x", "y", "pixel_x", "pixel_y"), ("new_x", "new_y", "selected")
    )
    if (table[["x", "y"]] % 1).any(axis=None):
        raise SpatialError(f"{path}: expected whole array positions x and y")
    table = table.astype({"x": int, "y": int}).set_index(["x", "y"])
    repeated = table.index.duplicated(keep=False)
    outside = table.get("selected", pd.Series(1.0, table.index)) != 1.0
    for spot in table.index[repeated].unique():
        notes.append((spot_name(spot), f"{path.name} has it several times"))
    for spot in table.index[outside & ~repeated]:
        notes.append((spot_name(spot), f"{path.name} marks it as outside the tissue"))
    table = table[~repeated & ~outside]
    if table.empty:
        raise SpatialError(f"{path} has no usable spot, first problem: {notes[0][1]}")
    columns = [
        name for name in ("pixel_x", "pixel_y", "new_x", "new_y") if name in table
    ]
    return table[columns], notes


def read_labels(path: Path) -> tuple[dict[Spot, str], list[Note]]:
    """Labels by spot, from a pathologist's or a cluster file; text as upstream has it.

    Only x, y and label are read. The pathologist's files give array positions with
    decimals, which are rounded. Their pixel columns are in the frame of another,
    upside-down image and must not be used; a test on the real data shows it.

    Raises:
      SpatialError: the file cannot be read or lacks a column.
    """
    table, notes = _read_numbers(path, ("x", "y", "label"))
    labels = {}
    for (x, y), texts in table["label"].groupby(
        [table["x"].round(), table["y"].round()]
    ):
        spot = (int(x), int(y))
        if texts.nunique() == 1:
            labels[spot] = texts.iloc[0]
        else:
            reason = f"{path.name} has several labels for it: {sorted(set(texts))}"
            notes.append((spot_name(spot), reason))
    return labels, notes
