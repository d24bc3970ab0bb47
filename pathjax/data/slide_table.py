"""slides.parquet: a row per slide, those that were skipped too (docs/study.md).

    slides of a tiler -> complete (tiles, first_row, shard) -> slide_problems -> the file
    tiles.parquet -> slides_of_tiles (a study without the file)

A study of 10^8 tiles has some 10^4 slides: what can be asked of this table is not asked
of tiles.parquet. Tables in memory only; `writer.py` writes the file, `study.py` reads.
"""

from collections.abc import Mapping

import numpy as np
import pandas as pd

SLIDE_COLUMNS = (
    "slide_id",
    "patient_id",
    "sample_id",
    "site",
    "path",
    "status",
    "reason",
    "width",
    "height",
    "mpp",
    "mpp_source",
    "tissue",
    "tiles",
    "first_row",
    "shard",
)
PLACES = ("tiles", "first_row", "shard")
OWNERS = ("slide_id", "patient_id", "sample_id")


def complete(slides: pd.DataFrame, shards: Mapping[str, int]) -> pd.DataFrame:
    """Adds the columns that say where a slide's tiles are, where they are absent.

    Args:
      slides: a row per slide. A tiled slide without the column `shard` has the shard of
        its own name.
      shards: name to number of tiles, in the order of the study.
    """
    slides = slides.reset_index(drop=True).copy()
    if not {"slide_id", "status"} <= set(slides):
        return slides  # slide_problems says so
    if "shard" not in slides:
        slides["shard"] = slides["slide_id"].where(slides["status"] == "tiled", None)
    if "tiles" not in slides:
        slides["tiles"] = slides["shard"].map(shards).fillna(0).astype(np.int64)
    if "first_row" not in slides:
        starts = _starts(shards)
        slides["first_row"] = slides["shard"].map(starts).fillna(-1).astype(np.int64)
    extra = [name for name in slides if name not in SLIDE_COLUMNS]
    return slides[[name for name in SLIDE_COLUMNS if name in slides] + extra]


def _starts(shards: Mapping[str, int]) -> dict[str, int]:
    """The global row of each shard's first tile."""
    ends = np.cumsum([0, *shards.values()])[:-1].tolist()
    return dict(zip(shards, ends, strict=True))


def slide_problems(
    slides: pd.DataFrame, shards: Mapping[str, int], owners: pd.DataFrame
) -> list[str]:
    """What is wrong with a slide table, given the tiles; empty when sound.

    Args:
      slides: a row per slide. A slide without a sample_id is one whose tiles belong to
        several samples (spots).
      shards: name to number of tiles, in the order of the study. A slide has one.
      owners: `shard, slide_id, patient_id, sample_id` of tiles, each combination once.
    """
    lacking = [name for name in SLIDE_COLUMNS if name not in slides]
    if lacking:
        return [f"slides lack the columns {', '.join(lacking)}"]
    found = []

    def report(wrong: pd.Series, text: str) -> None:
        if wrong.any():
            first = slides["slide_id"][wrong].tolist()[:3]
            found.append(f"{int(wrong.sum())} slides {text}, first {first}")

    tiled, shard = slides["status"] == "tiled", slides["shard"]
    report(slides["slide_id"].duplicated(), "stand in the slide table twice")
    report(~slides["status"].isin(["tiled", "skipped"]), "are not tiled or skipped")
    skipped = slides["status"] == "skipped"
    report(skipped & slides["reason"].fillna("").eq(""), "are skipped without a reason")
    report(skipped & slides["tiles"].ne(0), "are skipped and have tiles")
    report(tiled & ~shard.isin(list(shards)), "are tiled and have no shard")
    report(tiled & shard.duplicated() & shard.notna(), "share another's shard")
    nameless = sorted(set(shards) - set(shard[tiled]))
    if nameless:
        found.append(
            f"{len(nameless)} shards are no slide's in the slide table, first "
            f"{nameless[:3]}"
        )
    known = tiled & shard.isin(list(shards))
    for column, wanted in (("tiles", shards), ("first_row", _starts(shards))):
        wrong = known & slides[column].ne(shard.map(wanted))
        report(wrong, f"have another {column} in the slide table than in the index")
    by_shard = slides[known].drop_duplicates("shard").set_index("shard")
    for column in OWNERS:
        wanted = owners["shard"].map(by_shard[column])
        wrong = owners["shard"].isin(by_shard.index) & owners[column].ne(wanted)
        if column == "sample_id":
            wrong &= wanted.notna()
        if wrong.any():
            one = owners[wrong].iloc[0]
            found.append(
                f"{int(owners['shard'][wrong].nunique())} slides have tiles of another "
                f"{column} than the slide table says, first shard {one['shard']!r}: "
                f"{one[column]!r}"
            )
    return found


def slides_of_tiles(tiles: pd.DataFrame) -> pd.DataFrame:
    """The slide table of a study without one; what tiles do not say is missing.

    `patient_id`, `sample_id` and `shard` are None where a slide has several;
    `first_row` is that of its first tile, whether or not all follow one another.
    """
    by_slide = tiles.assign(first_row=np.arange(len(tiles))).groupby(
        "slide_id", sort=False
    )
    found = by_slide.agg(
        site=("site", "first"),
        mpp=("mpp", "median"),
        tiles=("first_row", "size"),
        first_row=("first_row", "first"),
    )
    for column in ("patient_id", "sample_id", "shard"):
        one = by_slide[column].nunique() == 1
        found[column] = by_slide[column].first().where(one, None)
    found = found.reset_index().assign(
        path=None,
        status="tiled",
        reason=None,
        width=np.nan,
        height=np.nan,
        mpp_source=None,
        tissue=np.nan,
    )
    return found[list(SLIDE_COLUMNS)]


def runs_of_tiles(tiles: pd.DataFrame) -> pd.DataFrame:
    """Stretches of consecutive tiles that have slide, patient and sample in common.

    Returns:
      `slide_id, patient_id, sample_id, first_row, tiles`, in the order of the tiles.
    """
    owners = tiles[list(OWNERS)].reset_index(drop=True)
    changes = np.ones(len(owners), bool)
    codes = np.stack([pd.factorize(owners[name])[0] for name in OWNERS])
    changes[1:] = (codes[:, 1:] != codes[:, :-1]).any(0)
    first = np.flatnonzero(changes)
    return (
        owners.iloc[first]
        .assign(first_row=first, tiles=np.diff(np.r_[first, len(owners)]))
        .reset_index(drop=True)
    )


def runs_of_slides(slides: pd.DataFrame) -> pd.DataFrame:
    """The same as `runs_of_tiles`, of a table whose slides each have one sample."""
    tiled = slides[slides["status"] == "tiled"].sort_values("first_row")
    return tiled[[*OWNERS, "first_row", "tiles"]].reset_index(drop=True)
