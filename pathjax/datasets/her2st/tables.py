"""Reads her2st's tables; a bad row costs itself and is named, never the whole file.

Own readers, because a table library would rename duplicated gene symbols, fill ragged
rows or shift them silently. A row that cannot be used becomes a note (what, reason); a
file that cannot be used raises SectionError. Nothing is joined here.
"""

import collections
import dataclasses
import gzip
import re
import zlib
from pathlib import Path

import numpy as np
import pandas as pd
import scipy.sparse

from pathjax.datasets.her2st.layout import SectionError

SPOT = re.compile(r"(\d+)x(\d+)")

Note = tuple[str, str]  # what is left out, and why
Spot = tuple[int, int]  # array column x and row y, as in the counts' row names


@dataclasses.dataclass(frozen=True)
class Counts:
    """One section's counts.

    Attributes:
      spots: array positions, in file order.
      genes: symbols, unique.
      matrix: `[spots, genes]` float32, whole numbers.
      summed: symbols that the file had more than once, and how often.
      notes: rows left out.
    """

    spots: list[Spot]
    genes: list[str]
    matrix: scipy.sparse.csr_matrix
    summed: dict[str, int]
    notes: list[Note]


def spot_name(spot: Spot) -> str:
    """The upstream name of a spot, such as "10x13"."""
    return f"{spot[0]}x{spot[1]}"


def read_lines(path: Path) -> list[list[str]]:
    """The fields of every line that is not blank; tab-separated, gzipped or not.

    Raises:
      SectionError: the file cannot be read, unzipped or decoded.
    """
    try:
        data = path.read_bytes()
        if path.suffix == ".gz":
            data = gzip.decompress(data)
        text = data.decode("utf-8-sig")
    except (OSError, EOFError, zlib.error, UnicodeDecodeError) as error:
        raise SectionError(
            f"{path} cannot be read ({error}): download or unpack it again"
        ) from error
    return [line.split("\t") for line in text.splitlines() if line.strip()]


def _rows(path: Path) -> tuple[list[str], list[tuple[int, list[str]]]]:
    """Header and numbered rows; the header gets a name for R's nameless row names."""
    lines = read_lines(path)
    if len(lines) < 2:
        raise SectionError(f"{path} has {len(lines)} lines: wanted a header and rows")
    header = [name.strip().strip('"') for name in lines[0]]
    widths = collections.Counter(len(fields) for fields in lines[1:])
    if widths.most_common(1)[0][0] == len(header) + 1:
        header = ["", *header]
    return header, list(enumerate(lines[1:], start=2))


def read_counts(path: Path) -> Counts:
    """Reads a table of spots by genes.

    Rows with another number of fields than the header, with a name that is no spot,
    with a value that is no count (missing, negative, not whole) or with a name seen
    before are left out and noted. Columns with the same symbol are summed.

    Raises:
      SectionError: the file cannot be read, or no row can be used.
    """
    header, lines = _rows(path)
    genes, columns = _unique(header[1:])
    repeated = collections.Counter(header[1:])
    seen = collections.Counter(fields[0].strip().strip('"') for _, fields in lines)
    notes: list[Note] = []
    spots: list[Spot] = []
    rows: list[scipy.sparse.csr_matrix] = []
    for number, fields in lines:
        name = fields[0].strip().strip('"')
        match = SPOT.fullmatch(name)
        values = None
        if len(fields) != len(header):
            fault = f"{len(fields)} fields where the header has {len(header)}"
        elif match is None:
            fault = "its name is no spot (wanted COLUMNxROW, such as 10x13)"
        elif seen[name] > 1:
            fault = f"the spot occurs {seen[name]} times, and none is known to be right"
        else:
            values, fault = _count_row(fields[1:], header[1:])
        if values is None:
            notes.append((name, f"{path.name} line {number}: {fault}"))
            continue
        spots.append((int(match[1]), int(match[2])))
        rows.append(scipy.sparse.csr_matrix(values))
    if not rows:
        raise SectionError(
            f"{path} has no row that can be used, first fault: {notes[0][1]}"
        )
    fold = scipy.sparse.csr_matrix(
        (np.ones(len(columns), np.float32), (np.arange(len(columns)), columns)),
        shape=(len(columns), len(genes)),
    )
    matrix = scipy.sparse.csr_matrix(scipy.sparse.vstack(rows) @ fold)
    summed = {gene: n for gene, n in repeated.items() if n > 1}
    return Counts(spots, genes, matrix, summed, notes)


def _count_row(fields: list[str], genes: list[str]) -> tuple[np.ndarray | None, str]:
    """One row as float32, or None and what is wrong with it."""
    try:
        values = np.array(fields, dtype=np.float64)
    except ValueError:
        for gene, field in zip(genes, fields, strict=True):
            try:
                float(field)
            except ValueError:
                return None, f"{field!r} for {gene} is no number"
        raise
    bad = ~np.isfinite(values) | (values < 0) | (values != np.floor(values))
    if bad.any():
        first = int(np.flatnonzero(bad)[0])
        return None, (
            f"{int(bad.sum())} values that are no counts, first {fields[first]!r} for "
            f"{genes[first]}"
        )
    return values.astype(np.float32), ""


def _unique(names: list[str]) -> tuple[list[str], np.ndarray]:
    """Names in first-seen order, and for each column the place of its name."""
    place: dict[str, int] = {}
    columns = [place.setdefault(name, len(place)) for name in names]
    return list(place), np.array(columns)


def read_spots(path: Path) -> tuple[pd.DataFrame, list[Note]]:
    """Spot positions: index (x, y), columns pixel_x, pixel_y and, if there, new_x/y.

    Rows marked as outside the tissue (selected 0), ragged, without numbers or repeated
    are left out and noted.

    Raises:
      SectionError: the file cannot be read, lacks a column, or has no usable row.
    """
    header, lines = _rows(path)
    columns = ["x", "y", "pixel_x", "pixel_y"]
    lacking = [name for name in columns if name not in header]
    if lacking:
        raise SectionError(
            f"{path} lacks the columns {', '.join(lacking)}; it has {', '.join(header)}"
        )
    columns += [name for name in ("new_x", "new_y", "selected") if name in header]
    notes: list[Note] = []
    found: dict[Spot, list[dict[str, float]]] = collections.defaultdict(list)
    for number, fields in lines:
        row, fault = _number_row(header, fields, columns)
        if row is not None and row["x"] % 1 + row["y"] % 1:
            fault = f"array position {row['x']}, {row['y']} is not whole"
        if fault:
            notes.append((f"line {number}", f"{path.name} line {number}: {fault}"))
            continue
        found[int(row["x"]), int(row["y"])].append(row)
    kept = []
    for spot, rows in found.items():
        name = spot_name(spot)
        if len(rows) > 1:
            notes.append((name, f"{path.name} has the spot {len(rows)} times"))
        elif rows[0].get("selected", 1.0) != 1.0:
            notes.append((name, f"{path.name} marks it as outside the tissue"))
        else:
            kept.append(rows[0])
    if not kept:
        reason = notes[0][1] if notes else "it has no rows"
        raise SectionError(f"{path} has no spot that can be used, first: {reason}")
    frame = pd.DataFrame(kept)
    frame[["x", "y"]] = frame[["x", "y"]].astype(int)
    return frame.set_index(["x", "y"]).drop(columns="selected", errors="ignore"), notes


def _number_row(
    header: list[str], fields: list[str], columns: list[str]
) -> tuple[dict[str, float] | None, str]:
    if len(fields) != len(header):
        return None, f"{len(fields)} fields where the header has {len(header)}"
    row = {}
    for name in columns:
        text = fields[header.index(name)]
        try:
            row[name] = float(text)
        except ValueError:
            return None, f"{name} is {text!r}, no number"
        if not np.isfinite(row[name]):
            return None, f"{name} is {text!r}, no finite number"
    return row, ""


def read_labels(path: Path) -> tuple[dict[Spot, str], list[Note]]:
    """Labels by spot, from a pathologist's or a cluster file; text as upstream has it.

    Only x, y and label are read. The pathologist's files give array positions with
    decimals, which are rounded. Their pixel columns are in the frame of another,
    upside-down image and must not be used; a test on the real data shows it.

    Raises:
      SectionError: the file cannot be read or lacks a column.
    """
    header, lines = _rows(path)
    lacking = [name for name in ("x", "y", "label") if name not in header]
    if lacking:
        raise SectionError(
            f"{path} lacks the columns {', '.join(lacking)}; it has {', '.join(header)}"
        )
    notes: list[Note] = []
    found: dict[Spot, set[str]] = collections.defaultdict(set)
    for number, fields in lines:
        row, fault = _number_row(header, fields, ["x", "y"])
        if row is None:
            notes.append((f"line {number}", f"{path.name} line {number}: {fault}"))
            continue
        spot = (int(np.rint(row["x"])), int(np.rint(row["y"])))
        found[spot].add(fields[header.index("label")].strip().strip('"'))
    labels = {}
    for spot, texts in found.items():
        if len(texts) == 1:
            labels[spot] = texts.pop()
        else:
            reason = f"{path.name} labels it in several ways: {sorted(texts)}"
            notes.append((spot_name(spot), reason))
    return labels, notes
