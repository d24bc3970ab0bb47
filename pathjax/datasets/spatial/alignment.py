"""The matrix that places an H&E image on Xenium's own pixels.

10x Genomics documents it as mapping H&E pixels to Xenium pixels. Other software writes
the inverse, so both are tried and the one that puts spots on tissue is taken.
"""

import csv
import dataclasses
import math
from pathlib import Path

import numpy as np
from jaxtyping import Float

from pathjax.datasets.spatial.image import ImageSource
from pathjax.datasets.spatial.sample import SpatialError
from pathjax.datasets.spatial.space_ranger import only
from pathjax.datasets.spatial.survey import survey
from pathjax.files import reading

MAX_ANISOTROPY = 0.05
MAX_SKEW = 0.05  # cosine of the angle between the images of x and y
MIN_INSIDE = 0.5  # share of spots inside the image
CLEARLY = 0.1  # more spots on tissue than in the other direction


@dataclasses.dataclass(frozen=True)
class Alignment:
    """An alignment matrix `[3, 3]` and the file it is from."""

    matrix: Float[np.ndarray, "3 3"]
    path: Path

    @classmethod
    def read(cls, path: Path) -> "Alignment":
        """Reads three lines of three numbers.

        Raises:
          SpatialError: It is not such a table, or degenerate.
        """
        with (
            reading(path, SpatialError, "an alignment matrix"),
            open(path, encoding="utf-8-sig", newline="") as file,
        ):
            rows = [[float(cell) for cell in row] for row in csv.reader(file) if row]
            return cls.of(np.array(rows, np.float64), path)

    @classmethod
    def of(cls, matrix: np.ndarray, path: Path) -> "Alignment":
        """The matrix of a file.

        Raises:
          SpatialError: It is degenerate: no similarity of two images.
        """
        problem = _problem(matrix)
        if problem:
            raise SpatialError(
                f"{path}: expected a 3 x 3 matrix that turns, scales and shifts, got one "
                f"{problem}: export it again"
            )
        return cls(matrix, path)

    def to_image(
        self, xenium_px: Float[np.ndarray, "n 2"], image: ImageSource, pixel_um: float
    ) -> tuple[Float[np.ndarray, "n 2"], float, tuple[str, ...]]:
        """Positions in the image, Xenium pixels per pixel of it, and warnings.

        Raises:
          SpatialError: Neither direction puts the spots into the image.
        """
        directions = (np.linalg.inv(self.matrix), self.matrix)
        placed = [apply(to_image, xenium_px) for to_image in directions]
        scales = [1 / scale_of(to_image) for to_image in directions]
        inside = [_inside(xy, image) for xy in placed]
        if max(inside) < MIN_INSIDE:
            raise SpatialError(
                f"{self.path}: {inside[0]:.0%} of the spots fall inside the H&E image, "
                f"{inside[1]:.0%} with the inverse matrix: matrix, image and Xenium "
                "output are not of one sample"
            )
        if inside[1] < MIN_INSIDE:
            return placed[0], scales[0], ()
        on = [0.0, 1.0]
        if inside[0] >= MIN_INSIDE:
            on = [
                _on_tissue(xy, image, pixel_um * scale)
                for xy, scale in zip(placed, scales, strict=True)
            ]
        if on[1] <= on[0] + CLEARLY:
            return placed[0], scales[0], ()
        note = (
            f"{self.path.name} was taken as a map from Xenium to H&E pixels: the "
            f"documented direction puts {inside[0]:.0%} of the spots into the image"
            + (f" and {on[0]:.0%} on tissue, this one {on[1]:.0%}" if on[0] else "")
        )
        return placed[1], scales[1], (note,)


def _problem(matrix: np.ndarray) -> str:
    """What makes a matrix unusable; empty if nothing does."""
    if matrix.shape != (3, 3):
        return f"of shape {' x '.join(map(str, matrix.shape))}"
    if not np.isfinite(matrix).all():
        return "with values that are no numbers"
    if not np.allclose(matrix[2], [0, 0, 1]):
        return f"whose last line is {matrix[2].tolist()}"
    x, y = matrix[:2, 0], matrix[:2, 1]
    lengths = np.linalg.norm(x), np.linalg.norm(y)
    if min(lengths) < 1e-6:
        return "that maps everything to one point or line"
    if abs(x @ y) / (lengths[0] * lengths[1]) > MAX_SKEW:
        return "that skews, or maps everything to one line"
    if abs(lengths[0] / lengths[1] - 1) > MAX_ANISOTROPY:
        return f"that scales x by {lengths[0]:.3g} and y by {lengths[1]:.3g}"
    return ""


def apply(
    matrix: Float[np.ndarray, "3 3"], xy: Float[np.ndarray, "n 2"]
) -> Float[np.ndarray, "n 2"]:
    """Points through a matrix."""
    return xy @ matrix[:2, :2].T + matrix[:2, 2]


def scale_of(matrix: Float[np.ndarray, "3 3"]) -> float:
    """Length of one unit's image; the mean of x and y."""
    return math.sqrt(abs(np.linalg.det(matrix[:2, :2])))


def _inside(xy: Float[np.ndarray, "n 2"], image: ImageSource) -> float:
    """Share of points inside the image."""
    return float(((xy >= 0) & (xy <= np.array(image.size))).all(axis=1).mean())


def _on_tissue(xy: Float[np.ndarray, "n 2"], image: ImageSource, mpp: float) -> float:
    """Share of points on the image's tissue."""
    seen = survey(image, mpp)
    place = seen.blocks_at(xy)
    known = (place >= 0).all(axis=1)
    return float(seen.tissue[place[known, 0], place[known, 1]].sum() / len(xy))


def find_alignment(image: Path, output: Path) -> Alignment:
    """The matrix of an image, in the output or beside the image.

    Raises:
      SpatialError: There is none, or several.
    """
    stem = image.name.split(".")[0]
    folders = dict.fromkeys([image.parent, output])
    tables = [
        path
        for folder in folders
        for path in sorted(folder.glob("*.csv"))
        if "align" in path.name.lower() or "matrix" in path.name.lower()
    ]
    own = [path for path in tables if path.name.startswith(stem)]
    what = f"alignment matrix {stem}alignment.csv in {' or '.join(map(str, folders))}"
    advice = (
        ". An image that is registered already needs one with the lines 1,0,0 and 0,1,0 "
        "and 0,0,1"
    )
    return Alignment.read(only(own or tables, what, image.name, advice))
