"""CSV whose first lines may be notes that begin with `#`, as the report writes them."""

from pathlib import Path

import pandas as pd


def read_noted(path: Path, **options) -> pd.DataFrame:
    """The table below the notes.

    A `#` further on belongs to a value: pandas' `comment` would cut it there.

    Raises:
      ValueError: it is empty or no CSV.
    """
    with open(path, encoding="utf-8-sig") as file:
        notes = 0
        for line in file:
            if not line.startswith("#"):
                break
            notes += 1
    try:
        return pd.read_csv(path, skiprows=notes, encoding="utf-8-sig", **options)
    except (pd.errors.ParserError, pd.errors.EmptyDataError) as error:
        raise ValueError(f"{path} is no CSV: {error}") from error
