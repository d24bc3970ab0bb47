"""tiles.parquet as a stream of Arrow tables: joined from its parts, read in order.

    rows of each shard -> one schema -> join -> tiles.parquet -> stream

Memory is that of some 10^5 rows, whatever the study. Strings stay plain in the schema,
so that pandas reads them as ever; Parquet stores repeated ones once by itself. Checks
are in `index_check.py`.
"""

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from pathjax.data.study import StudyError

# Rows that a stream holds. A row group, what is read to find one tile's id, has as many
# to twice as many.
ROWS = 1 << 17


def schema_of(parts: Sequence[Path]) -> tuple[pa.Schema, list[int]]:
    """The schema that takes the rows of all parts, and how many rows each has.

    A column that a part lacks is null there; an integer column joined to one of
    floats is one of floats.

    Raises:
      StudyError: a column has types that do not go together.
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
            raise StudyError(
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
      path: the file to write.
      schema: of `schema_of`.
      look: called with each piece in its order, some 10^5 rows or a part.
    """
    texts = [
        field.name
        for field in schema
        # pandas 3 writes its strings with 64-bit offsets.
        if pa.types.is_string(field.type) or pa.types.is_large_string(field.type)
    ]
    with pq.ParquetWriter(
        path, schema, use_dictionary=[name for name in texts if name != "tile_id"]
    ) as writer:
        held: list[pa.Table] = []
        for part in parts:
            with pq.ParquetFile(part) as file:
                held.append(_fit(file.read(), schema))
            if sum(map(len, held)) >= ROWS:
                _write(writer, held, look)
                held = []
        if held:
            _write(writer, held, look)


def _write(writer, held: list[pa.Table], look: Callable[[pa.Table], None]) -> None:
    table = pa.concat_tables(held)
    look(table)
    # One group, unless a single part has more than ROWS: no small rest beside each.
    writer.write_table(table, row_group_size=2 * ROWS)


def _fit(table: pa.Table, schema: pa.Schema) -> pa.Table:
    columns = [
        table[field.name].cast(field.type)
        if field.name in table.column_names
        else pa.nulls(len(table), field.type)
        for field in schema
    ]
    return pa.table(columns, schema=schema)


def stream(path: Path, columns: Sequence[str] | None = None) -> Iterator[pa.Table]:
    """The rows of a Parquet file in order, at most ROWS at a time."""
    with pq.ParquetFile(path) as file:
        # One iterator over all row groups keeps what it has read of each.
        for group in range(file.num_row_groups):
            for batch in file.iter_batches(ROWS, row_groups=[group], columns=columns):
                yield pa.Table.from_batches([batch])
