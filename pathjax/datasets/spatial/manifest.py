"""Which samples to read: paths, or a CSV with patients, sites, images and labels.

    sample,patient,site,path,image,grade
    S1,P1,north,run1/outs,run1/slide.tif,G2

`path` is needed, relative to the CSV; so are the images. `mpp` overrules all evidence
of a sample's scale. Every other column is a label of its samples.
"""

import dataclasses
from collections.abc import Sequence
from pathlib import Path

from pathjax.data.tables import (
    alike,
    filled_in_part,
    is_missing,
    path_below,
    read_table,
)
from pathjax.datasets.spatial.options import SpatialOptions
from pathjax.datasets.spatial.sample import SpatialError
from pathjax.wsi.scale import mpp_of

COLUMNS = ("sample_id", "patient_id", "site", "path", "image", "mpp")
REDUCED = ("hires", "lowres")


@dataclasses.dataclass(frozen=True)
class SampleRow:
    """A sample to read; what is None is left to the sample itself.

    Attributes:
      name: Its name.
      image: A path, "hires" or "lowres".
      mpp: Micrometres per pixel by the user.
      labels: Value by column.
    """

    path: Path
    name: str | None = None
    patient: str | None = None
    site: str | None = None
    image: str | None = None
    mpp: float | None = None
    labels: dict[str, str] = dataclasses.field(default_factory=dict)


def rows_of(
    paths: Sequence[Path], manifest: Path | None, options: SpatialOptions
) -> list[SampleRow]:
    """The samples of the command line.

    Raises:
      SpatialError: Neither or both were given, or one image for several samples.
    """
    if bool(paths) == (manifest is not None):
        raise SpatialError("expected samples or --manifest FILE, got both or neither")
    rows = [SampleRow(path) for path in paths]
    if manifest is not None:
        try:
            rows = read_manifest(manifest)
        except ValueError as error:
            raise SpatialError(str(error)) from error
    image = options.image
    if image and image not in REDUCED and len(rows) > 1:
        raise SpatialError(
            f"--image {image} is one image for {len(rows)} samples: name the images in "
            "a manifest's column image"
        )
    return [row if row.image else dataclasses.replace(row, image=image) for row in rows]


def read_manifest(path: Path) -> list[SampleRow]:
    """The rows of a manifest.

    Raises:
      ValueError: It lacks a column, names a sample twice, or fills in patients in part.
    """
    table = read_table(path, COLUMNS, required=("path",))
    problems = [filled_in_part(table, name) for name in ("sample_id", "patient_id")]
    if "sample_id" in table:
        twice = table["sample_id"][table["sample_id"].duplicated()]
        twice = twice[twice != ""]
        if len(twice):
            problems.append(f"sample {twice.iloc[0]} is named twice")
    if "patient_id" in table:
        problems += [
            f"patients {', '.join(group)} differ only by case, leading zeros or '.0'"
            for group in alike(table["patient_id"])
        ]
    problems = [problem for problem in problems if problem]
    if problems:
        raise ValueError(f"{path}: {'; '.join(problems)}")
    labels = [name for name in table if name not in COLUMNS]
    rows = []
    for line, entry in table.iterrows():
        given = {name: entry.get(name) or None for name in COLUMNS}
        if given["path"] is None:
            raise ValueError(f"{path} line {line}: path is empty")
        image = given["image"]
        if image and image not in REDUCED:
            image = str(path_below(path.parent, image))
        try:
            mpp = None if given["mpp"] is None else mpp_of(given["mpp"])
        except ValueError as error:
            raise ValueError(f"{path} line {line}: {error}") from error
        rows.append(
            SampleRow(
                path_below(path.parent, given["path"]),
                given["sample_id"],
                given["patient_id"],
                given["site"],
                image,
                mpp,
                {name: entry[name] for name in labels if not is_missing(entry[name])},
            )
        )
    return rows
