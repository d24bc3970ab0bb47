"""A study from images and a table of them: the way in for labelled tiles of one's own.

    path,patient,site,mpp,fold,grade
    a/1.png,P1,north,0.5,train,G2

Each row is an image, and a sample of its own unless `sample_id` says otherwise. Images
are brought to the study's mpp and cut into a centred grid of tiles. It reads no whole
slides (`pathjax tile`) and no expression.
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from PIL import Image

from pathjax.data.followup import event_column, followup_problem
from pathjax.data.images import decode_tile, encode_jpeg
from pathjax.data.study import Split, Study, StudyError, Target, listing, sha256
from pathjax.data.study_writer import StudyWriter
from pathjax.data.tables import (
    alike,
    filled_in_part,
    is_missing,
    lookalikes,
    number,
    path_below,
    read_table,
)
from pathjax.datasets.dataset import Progress
from pathjax.datasets.options import ImageOptions
from pathjax.wsi.scale import mpp_of

COLUMNS = ("path", "patient_id", "sample_id", "slide_id", "site", "mpp")
SAME = 0.01  # relative difference of mpp below which an image is not resized
QUALITY = 95


def build_image_table(
    options: ImageOptions, source: Path, out: Path, progress: Progress
) -> Study:
    """Builds the study.

    Args:
      options: A split called "folds" has the fold of each row's patient; with
        `slide_id`, of its slide: patients of several folds are declared as shared.
      source: CSV with `path` (relative to it), `patient_id`, `mpp`, and optionally
        `sample_id` (default: the path), `slide_id` (the same) and `site`. A slide is
        what folds keep whole, so a region of one can be named too.
      out: The study's folder.
      progress: Called with (patients done, number of patients).

    Returns:
      The study; rows that cannot be used are in `meta["skipped"]` with their reason.

    Raises:
      ValueError: The table lacks a column, its patients cannot be told apart, or
        something is unused and `strict` is set.
      StudyError: No image can be used, or the study is inconsistent.
    """
    targets, fold = options.targets, options.fold
    tile_px, mpp = options.tile_px, options.mpp
    wanted = [column for target in targets for column in columns_of(target)]
    extra = [fold] if fold else []
    table = read_table(
        source, COLUMNS, required=("path", "patient_id", "mpp", *wanted, *extra)
    )
    if (table["patient_id"] == "").all():
        raise ValueError(f"{source}: patient_id is empty in every row")
    for column in ("patient_id", "sample_id", "slide_id", "site"):
        if problem := filled_in_part(table, column):
            raise ValueError(f"{source}: {problem}")
    if same := alike(table["patient_id"]):
        raise ValueError(
            f"{source}: patients {', '.join(same[0])} differ only by case, leading zeros "
            "or '.0': write each patient in one way"
        )
    for column, default in (("sample_id", table["path"]), ("site", "unknown")):
        if column not in table or (table[column] == "").all():
            table[column] = default
    unit = "slide_id" if "slide_id" in table else "patient_id"
    if unit == "patient_id" or (table["slide_id"] == "").all():
        unit, table["slide_id"] = "patient_id", table["path"]
    known = [target_of(target, table, source) for target in targets]
    require_agreement(table, ["patient_id", "site", *wanted], source)
    # Refuses before images are read.
    splits = [split_of(fold, table, source, unit)] if fold else []
    writer = StudyWriter(
        out,
        name=options.name,
        tile_px=tile_px,
        mpp=mpp,
        provenance={"source": str(source), "sha256": sha256(source)},
        build={"table": sha256(source), "tile_px": tile_px, "mpp": mpp},
    )
    reasons = [split.note for split in splits if split.note]
    unused = lookalikes(set(table) - {*wanted, *extra}, COLUMNS)
    for column in unused:
        reasons.append(f"column {column} is not used")
        writer.skip(f"column {column}", "not used; it looks like a known column")
    kept: list[int] = []
    groups = list(table.groupby("patient_id", sort=False))
    for done, (_, rows) in enumerate(groups):
        problems = _write_patient(
            writer, f"p{done:06d}", rows, source.parent, tile_px, mpp
        )
        for line, reason in problems.items():
            writer.skip(f"{rows.loc[line, 'path']} (line {line})", reason)
            reasons.append(f"{rows.loc[line, 'path']}: {reason}")
        kept += [line for line in rows.index if line not in problems]
        progress(done + 1, len(groups))
    if not kept:
        raise StudyError(
            f"none of the {len(table)} images of {source} can be used: "
            + listing(reasons)
        )
    if options.strict and reasons:
        raise ValueError(f"--strict: {source}: {listing(reasons)}")
    table = table.loc[kept]
    # Folds are of what is left.
    splits = [split_of(fold, table, source, unit)] if fold else []
    table = table.drop_duplicates("sample_id")
    labels = {
        column: _values(target, table[column])
        for target, word in zip(known, targets, strict=True)
        for column in columns_of(word)
    }
    samples = table[["sample_id", "patient_id", "site"]].assign(**labels)
    return writer.finish(samples=samples, targets=known, splits=splits)


def require_agreement(
    table: pd.DataFrame, columns: Sequence[str], source: Path
) -> None:
    """Checks that each image is named once and that a sample's rows agree.

    Raises:
      ValueError: They do not.
    """
    twice = table["path"][table["path"].duplicated()]
    if len(twice):
        raise ValueError(
            f"{source} names {len(twice)} images twice, first {twice.iloc[0]}"
        )
    for column in columns:
        different = table.groupby("sample_id")[column].nunique()
        different = different[different > 1]
        if len(different):
            raise ValueError(
                f"{source}: the rows of sample {different.index[0]} have "
                f"{different.iloc[0]} values of {column}; expected one"
            )


def columns_of(word: str) -> list[str]:
    """The columns of the target that a word names."""
    column, _, kind = word.partition(":")
    return [column, event_column(column)] if kind == "survival" else [column]


def target_of(word: str, table: pd.DataFrame, source: Path) -> Target:
    """The target that `COLUMN`, `COLUMN:number` or `COLUMN:survival` names.

    Raises:
      ValueError: Another kind, no value at all, or a value that is no number.
    """
    column, _, kind = word.partition(":")
    kind = kind or "class"
    if kind not in ("class", "number", "survival"):
        expected = f"{column}, {column}:number or {column}:survival"
        raise ValueError(f"{word}: expected {expected}")
    values = [value for value in table[column] if not is_missing(value)]
    if not values:
        raise ValueError(f"{source}: column {column} is empty")
    if kind != "class":
        target, each = Target(column, "sample", kind), []
        for one in columns_of(word):
            for value in table[one]:
                try:
                    number("0" if is_missing(value) else value)
                except ValueError:
                    raise ValueError(
                        f"{source}: expected numbers in column {one}, got {value!r}"
                    ) from None
            each.append(_values(target, table[one]))
        if kind == "survival" and (problem := followup_problem(column, *each)):
            raise ValueError(f"{source}: {problem}")
        return target
    return Target(column, "sample", "class", tuple(sorted(set(values))))


def split_of(
    fold: str, table: pd.DataFrame, source: Path, unit: str = "patient_id"
) -> Split:
    """The split "folds": the fold of each patient, or of each slide.

    Raises:
      ValueError: The images of a patient, or of a slide, are in several folds.
    """
    named = table[[not is_missing(value) for value in table[fold]]]
    what = unit.removesuffix("_id")
    folds = named.groupby(unit)[fold].unique()
    divided = folds[folds.map(len) > 1]
    if len(divided):
        raise ValueError(
            f"{source}: the images of {len(divided)} {what}s are in several folds, "
            f"first {divided.index[0]} ({', '.join(divided.iloc[0])}): a {what} has to "
            "be in one fold"
        )
    of = folds.map(lambda values: values[0])
    ids = {name: tuple(of.index[of == name]) for name in of.unique()}
    without = sorted(set(table[unit]) - set(of.index))
    note = f"{len(without)} {what}s are in no fold: {listing(without)}"
    note = note if without else ""
    if unit == "patient_id":
        return Split("folds", ids, note=note)
    counts = named.groupby("patient_id")[fold].nunique()
    shared = tuple(map(str, counts.index[counts > 1]))
    return Split("folds", ids, unit, shared, note)


def cut(
    image: np.ndarray, mpp: float, tile_px: int, to_mpp: float
) -> list[tuple[int, int, np.ndarray]]:
    """A centred grid of tiles.

    Args:
      image: RGB `[H, W, 3]` uint8.
      mpp: Its micrometres per pixel.
      tile_px, to_mpp: Of the tiles.

    Returns:
      (x, y, tile) per tile: its corner in pixels of `image`, and `[tile_px, tile_px,
      3]` uint8. Empty if the image is smaller than a tile.
    """
    factor = mpp / to_mpp
    if abs(factor - 1) > SAME:
        height, width = (round(side * factor) for side in image.shape[:2])
        if min(height, width) < tile_px:
            return []
        # Pillow's filters widen when they shrink, so this does not alias.
        resized = Image.fromarray(image).resize(
            (width, height), Image.Resampling.BICUBIC
        )
        image = np.asarray(resized)
    else:
        factor = 1.0
    down, across = (side // tile_px for side in image.shape[:2])
    top, left = (
        (side - count * tile_px) // 2
        for side, count in zip(image.shape[:2], (down, across), strict=True)
    )
    tiles = []
    for row in range(down):
        for column in range(across):
            y, x = top + row * tile_px, left + column * tile_px
            tile = image[y : y + tile_px, x : x + tile_px]
            tiles.append((round(x / factor), round(y / factor), tile))
    return tiles


def _write_patient(
    writer: StudyWriter,
    shard: str,
    rows: pd.DataFrame,
    folder: Path,
    tile_px: int,
    to_mpp: float,
) -> dict[int, str]:
    """Writes a patient's shard; returns the lines that cannot be used, and why."""
    problems: dict[int, str] = {}
    tiles: list[tuple[int, int, int, np.ndarray]] = []
    for line, row in rows.iterrows():
        try:
            mpp = mpp_of(row["mpp"])
            image = decode_tile(path_below(folder, row["path"]).read_bytes())
            parts = cut(image, mpp, tile_px, to_mpp)
            if not parts:
                raise ValueError(
                    f"its {image.shape[1]} x {image.shape[0]} px at {mpp} um/px are "
                    f"smaller than a tile of {tile_px * to_mpp:g} um"
                )
            tiles += [(line, x, y, tile) for x, y, tile in parts]
        except (ValueError, OSError) as error:
            problems[line] = str(error)
    if not tiles or writer.has_shard(shard):
        return problems
    with writer.shard(shard) as records:
        for line, x, y, tile in tiles:
            row = rows.loc[line]
            records.add(
                encode_jpeg(tile, QUALITY),
                tile_id=f"{row['path']}@{x},{y}",
                sample_id=row["sample_id"],
                patient_id=row["patient_id"],
                slide_id=row["slide_id"],
                site=row["site"],
                x=x,
                y=y,
            )
    return problems


def _values(target: Target, column: pd.Series) -> list[str | None] | list[float]:
    """A target's values as a study keeps them."""
    missing = [is_missing(value) for value in column]
    if target.kind != "class":
        pairs = zip(column, missing, strict=True)
        return [np.nan if empty else number(value) for value, empty in pairs]
    return [
        None if empty else value for value, empty in zip(column, missing, strict=True)
    ]
