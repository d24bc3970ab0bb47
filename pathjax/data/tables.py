"""Tables that users write: CSV or TSV with a header, each cell read as text.

Columns are recognised in the usual spellings (`Patient_ID`, `case_id`, ...) by one
function, `known_columns`. What a table means is up to its reader.
"""

import re
import warnings
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import pandas as pd

# Canonical name -> other names of the same column, lower case with underscores.
ALIASES = {
    "patient_id": ("patient", "case_id", "case", "submitter_id", "case_submitter_id"),
}


def read_table(path: Path, columns: Sequence[str] = ()) -> pd.DataFrame:
    """Reads a table; cells are stripped, empty ones are "".

    Args:
      path: A CSV, or a TSV by its ending, in UTF-8 with or without a byte-order mark.
      columns: Columns to recognise in other spellings, see `known_columns`.

    Raises:
      ValueError: It is not such a table, or two columns have one name.
    """
    try:
        with warnings.catch_warnings():
            # A row with more cells than there are columns would lose the last ones.
            warnings.simplefilter("error", pd.errors.ParserWarning)
            table = pd.read_csv(
                path,
                sep="\t" if ".tsv" in path.suffixes else ",",
                dtype=str,
                keep_default_na=False,
                index_col=False,
                encoding="utf-8-sig",
            )
    except (ValueError, OSError, pd.errors.ParserWarning) as error:
        raise ValueError(f"{path} cannot be read as a CSV table: {error}") from error
    table.columns = [str(name).strip() for name in table.columns]
    table.columns = known_columns(table.columns, columns)
    repeated = sorted(name for name, count in Counter(table).items() if count > 1)
    if repeated:
        raise ValueError(
            f"{path} has several columns for {', '.join(repeated)}: keep one of each"
        )
    return table.apply(lambda column: column.str.strip())


def known_columns(names: Sequence[str], columns: Sequence[str]) -> list[str]:
    """`names` with those that mean one of `columns` renamed to it.

    Case, spaces and hyphens do not matter, and ALIASES are taken for the name that they
    stand for, unless that is present under its own name.
    """
    plain = [re.sub(r"[\s.-]+", "_", name.lower()) for name in names]
    out = list(names)
    for column in columns:
        exact = [i for i, name in enumerate(names) if name == column]
        spelled = [i for i, name in enumerate(plain) if name == column]
        other = [i for i, name in enumerate(plain) if name in ALIASES.get(column, ())]
        for i in exact or spelled or other:
            out[i] = column
    return out
