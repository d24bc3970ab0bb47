"""The Parquet tables of a study (docs/study.md): columns, streams, slides, runs.

tiles.parquet is joined from parts and read as a stream of some 10^5 rows, whatever its
size. slides.parquet answers what can be asked of slides: a study of 10^8 tiles has some
10^4. `check.py` checks the other tables; `study_writer.py` writes slides.parquet.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
from jaxtyping import Int

TILE_COLUMNS = (
    *("tile_id", "sample_id", "patient_id", "site", "slide_id"),
    *("x", "y", "mpp", "shard", "row"),
)
SAMPLE_COLUMNS = ("sample_id", "patient_id", "site")
SLIDE_COLUMNS = (
    *("slide_id", "patient_id", "sample_id", "site", "path", "status", "reason"),
    *("width", "height", "mpp", "mpp_source", "tissue", "tiles", "first_row", "shard"),
)
OWNERS = ("slide_id", "patient_id", "sample_id")
# Rows held by a stream. A row group has as many to twice as many.
ROWS = 1 << 17


def read_frame(path: Path, columns: Sequence[str] | None = None) -> pd.DataFrame:
    """A Parquet table, opened by Arrow itself.

    A file that pandas opens may be released by Arrow's threads when Python is exiting:
    the process then aborts, or hangs (apache/arrow#34314 and #50482).
    """
    from pyarrow.fs import LocalFileSystem

    return pd.read_parquet(path, columns=columns, filesystem=LocalFileSystem())


def stream(path: Path, columns: Sequence[str] | None = None) -> Iterator[pa.Table]:
    """The rows of a Parquet file in order, at most ROWS at a time."""
    with pq.ParquetFile(path) as file:
        # One iterator over all row groups would keep what it has read of each.
        for group in range(file.num_row_groups):
            for batch in file.iter_batches(ROWS, row_groups=[group], columns=columns):
                yield pa.Table.from_batches([batch])


def read_rows(
    path: Path, rows: Int[np.ndarray, "n"], columns: Sequence[str]
) -> pd.DataFrame:
    """Some rows by number, in their order; reads the row groups from first to last."""
    with pq.ParquetFile(path) as file:
        sizes = [
            file.metadata.row_group(group).num_rows
            for group in range(file.num_row_groups)
        ]
        ends = np.cumsum(sizes)
        low, high = np.searchsorted(ends, [np.min(rows), np.max(rows)], side="right")
        table = file.read_row_groups(range(low, high + 1), list(columns))
        return table.take(rows - (ends[low] - sizes[low])).to_pandas()


def schema_of(parts: Sequence[Path]) -> tuple[pa.Schema, list[int]]:
    """The schema that takes the rows of all parts, and how many rows each has.

    A column that a part lacks is null there; integers joined to floats become floats.

    Raises:
      ValueError: The types of a column cannot be joined.
    """
    schemas: dict[str, tuple[pa.Schema, Path]] = {}
    counts = []
    for part in parts:
        meta = pq.read_metadata(part)
        schema = meta.schema.to_arrow_schema().remove_metadata()
        schemas.setdefault(str(schema), (schema, part))
        counts.append(meta.num_rows)
    joined: pa.Schema | None = None
    for schema, part in schemas.values():
        try:
            both = [schema] if joined is None else [joined, schema]
            joined = pa.unify_schemas(both, promote_options="permissive")
        except (pa.ArrowInvalid, pa.ArrowTypeError) as error:
            raise ValueError(
                f"the tiles of {part.stem} have a column of another type than those "
                f"before: {error}; give a target the same type in all shards"
            ) from error
    return joined, counts


def join(
    parts: Sequence[Path],
    path: Path,
    schema: pa.Schema,
    look: Callable[[pa.Table], None],
) -> None:
    """Writes the rows of all parts to `path`, one part in memory at a time.

    Args:
      parts: Parquet files.
      path: The file to write.
      schema: From `schema_of`.
      look: Called with each piece in order, some 10^5 rows or a part.
    """
    # pandas 3 writes its strings with 64-bit offsets.
    texts = [
        field.name
        for field in schema
        if pa.types.is_string(field.type) or pa.types.is_large_string(field.type)
    ]
    with pq.ParquetWriter(
        path, schema, use_dictionary=[name for name in texts if name != "tile_id"]
    ) as writer:
        held: list[pa.Table] = []
        for i, part in enumerate(parts, start=1):
            with pq.ParquetFile(part) as file:
                held.append(_fit(file.read(), schema))
            if sum(map(len, held)) >= ROWS or i == len(parts):
                table, held = pa.concat_tables(held), []
                look(table)
                # One group, unless a single part has more than ROWS.
                writer.write_table(table, row_group_size=2 * ROWS)


def _fit(table: pa.Table, schema: pa.Schema) -> pa.Table:
    columns = [
        table[field.name].cast(field.type)
        if field.name in table.column_names
        else pa.nulls(len(table), field.type)
        for field in schema
    ]
    return pa.table(columns, schema=schema)


def first_rows(shards: Mapping[str, int]) -> dict[str, int]:
    """The global row of each shard's first tile, from the number of tiles of each."""
    ends = np.cumsum([0, *shards.values()])[:-1].tolist()
    return dict(zip(shards, ends, strict=True))


def complete_slides(slides: pd.DataFrame, shards: Mapping[str, int]) -> pd.DataFrame:
    """Adds `shard`, `tiles` and `first_row` where those columns are absent.

    Args:
      slides: A row per slide. A tiled slide without a column `shard` has the shard of
        its own name.
      shards: Name to number of tiles, in the order of the study.
    """
    slides = slides.reset_index(drop=True).copy()
    if not {"slide_id", "status"} <= set(slides):
        return slides  # slide_problems says so
    if "shard" not in slides:
        slides["shard"] = slides["slide_id"].where(slides["status"] == "tiled", None)
    if "tiles" not in slides:
        slides["tiles"] = slides["shard"].map(shards).fillna(0).astype(np.int64)
    if "first_row" not in slides:
        starts = slides["shard"].map(first_rows(shards))
        slides["first_row"] = starts.fillna(-1).astype(np.int64)
    extra = [name for name in slides if name not in SLIDE_COLUMNS]
    return slides[[name for name in SLIDE_COLUMNS if name in slides] + extra]


def few(items: Iterable[str], text: str) -> list[str]:
    """`[text]` with the number of items for "N" and the first three, or nothing."""
    names = sorted(set(items))
    return [f"{len(names)} {text}, first {names[:3]}"] if names else []


def slide_problems(
    slides: pd.DataFrame, shards: Mapping[str, int], owners: pd.DataFrame
) -> list[str]:
    """What is wrong with a slide table, given the tiles.

    Args:
      slides: A row per slide. One without a sample_id has tiles of several samples
        (spots).
      shards: Name to number of tiles, in the order of the study; a slide has one.
      owners: `IndexCheck.owners`.
    """
    lacking = [name for name in SLIDE_COLUMNS if name not in slides]
    if lacking:
        return [f"slides lack the columns {', '.join(lacking)}"]
    problems: list[str] = []

    def report(wrong: pd.Series, text: str) -> None:
        if wrong.any():
            first = slides["slide_id"][wrong].tolist()[:3]
            problems.append(f"{int(wrong.sum())} slides {text}, first {first}")

    tiled, shard = slides["status"] == "tiled", slides["shard"]
    report(slides["slide_id"].duplicated(), "are twice in the slide table")
    report(~slides["status"].isin(["tiled", "skipped"]), "are not tiled or skipped")
    skipped = slides["status"] == "skipped"
    report(skipped & slides["reason"].fillna("").eq(""), "are skipped without a reason")
    report(skipped & slides["tiles"].ne(0), "are skipped and have tiles")
    report(tiled & ~shard.isin(list(shards)), "are tiled and have no shard")
    report(tiled & shard.duplicated() & shard.notna(), "share another's shard")
    problems += few(
        set(shards) - set(shard[tiled]), "shards are no slide's in the slide table"
    )
    known = tiled & shard.isin(list(shards))
    for column, expected in (("tiles", shards), ("first_row", first_rows(shards))):
        wrong = known & slides[column].ne(shard.map(expected))
        report(wrong, f"have another {column} in the slide table than in the index")
    by_shard = slides[known].drop_duplicates("shard").set_index("shard")
    for column in OWNERS:
        expected = owners["shard"].map(by_shard[column])
        wrong = owners["shard"].isin(by_shard.index) & owners[column].ne(expected)
        if column == "sample_id":
            wrong &= expected.notna()
        if wrong.any():
            first = owners[wrong].iloc[0]
            problems.append(
                f"{int(owners['shard'][wrong].nunique())} slides have tiles of another "
                f"{column} than the slide table says, first shard {first['shard']!r}: "
                f"{first[column]!r}"
            )
    return problems


def slides_of_tiles(tiles: pd.DataFrame) -> pd.DataFrame:
    """The slide table of a study without one; what tiles do not say is missing.

    `patient_id`, `sample_id` and `shard` are None where a slide has several;
    `first_row` is that of its first tile, whether or not all are consecutive.
    """
    by_slide = tiles.assign(first_row=np.arange(len(tiles))).groupby(
        "slide_id", sort=False
    )
    table = by_slide.agg(
        site=("site", "first"),
        mpp=("mpp", "median"),
        tiles=("first_row", "size"),
        first_row=("first_row", "first"),
    )
    for column in ("patient_id", "sample_id", "shard"):
        one = by_slide[column].nunique() == 1
        table[column] = by_slide[column].first().where(one, None)
    table = table.reset_index().assign(
        status="tiled",
        **dict.fromkeys(("path", "reason", "mpp_source"), None),
        **dict.fromkeys(("width", "height", "tissue"), np.nan),
    )
    return table[list(SLIDE_COLUMNS)]


def runs_of_tiles(tables: Iterable[pd.DataFrame]) -> pd.DataFrame:
    """Stretches of consecutive tiles that have slide, patient and sample in common.

    Args:
      tables: Of the tiles in order, some at a time.

    Returns:
      `slide_id, patient_id, sample_id, first_row, tiles`, in the order of the tiles.
    """
    parts, done = [], 0
    for table in tables:
        first = _changes(table)
        owners = table[list(OWNERS)].iloc[first]
        parts.append(owners.assign(first_row=done + first))
        done += len(table)
    runs = pd.concat(parts, ignore_index=True)
    runs = runs.iloc[_changes(runs)].reset_index(drop=True)  # one may go on in the next
    return runs.assign(tiles=np.diff(np.r_[runs["first_row"], done]))


def _changes(table: pd.DataFrame) -> Int[np.ndarray, "r"]:
    """The rows whose owners are not those of the row before."""
    codes = np.stack([pd.factorize(table[name])[0] for name in OWNERS])
    changes = np.ones(len(table), bool)
    changes[1:] = (codes[:, 1:] != codes[:, :-1]).any(0)
    return np.flatnonzero(changes)


def runs_of_slides(slides: pd.DataFrame) -> pd.DataFrame:
    """The same as `runs_of_tiles`, of a table whose slides each have one sample."""
    tiled = slides[slides["status"] == "tiled"].sort_values("first_row")
    return tiled[[*OWNERS, "first_row", "tiles"]].reset_index(drop=True)
