"""Small made-up trees in upstream's exact layout, to be broken one way at a time."""

import dataclasses
import gzip
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import simplejpeg

STEP = 40.0  # pixels between spots, so 5 micrometres per pixel
SIZE = (1280, 1360)  # 32 by 34 steps, as upstream's images are cut
SIDE = 6  # spots per row and column
FIRST = (5, 9)  # array position of the first spot
GENES = ["ERBB2", "KRT8", "COL1A1", "ACTB"]


@dataclasses.dataclass
class MadeSection:
    """Content of one section's files; change it, then write it."""

    name: str
    image: np.ndarray
    counts: list[list[str]]
    spots: list[list[str]]
    clusters: list[list[str]] | None
    labels: list[list[str]] | None

    @property
    def patient(self) -> str:
        return self.name[0]

    @staticmethod
    def text(rows: list[list[str]]) -> str:
        return "\n".join("\t".join(row) for row in rows) + "\n"

    def write(self, root: Path, *, image: bool = True) -> None:
        def path(name: str) -> Path:
            (root / name).parent.mkdir(parents=True, exist_ok=True)
            return root / name

        data = gzip.compress(self.text(self.counts).encode(), mtime=0)
        path(f"data/ST-cnts/{self.name}.tsv.gz").write_bytes(data)
        file = path(f"data/ST-spotfiles/{self.name}_selection.tsv")
        file.write_text(self.text(self.spots))
        if image:
            file = path(
                f"data/ST-imgs/{self.patient}/{self.name}/made_HE_{self.name}.jpg"
            )
            file.write_bytes(simplejpeg.encode_jpeg(self.image, quality=95))
        if self.clusters:
            file = path(f"res/ST-cluster/lbl/{self.name}-cluster-annotation.tsv.gz")
            file.write_bytes(gzip.compress(self.text(self.clusters).encode(), mtime=0))
        if self.labels:
            file = path(f"data/ST-pat/lbl/{self.name}_labeled_coordinates.tsv")
            file.write_text(self.text(self.labels))


def spot_colour(x: int, y: int) -> np.ndarray:
    """A colour that names the spot: red by column, green by row."""
    return np.array([40 + 30 * (x - FIRST[0]), 40 + 30 * (y - FIRST[1]), 150], np.uint8)


def make_section(name: str, seed: int = 0) -> MadeSection:
    """Spots on a grid with small offsets, each on a square of its own colour."""
    rng = np.random.default_rng([seed, *name.encode()])
    image = np.full((SIZE[1], SIZE[0], 3), 235, np.uint8)
    counts, clusters = [["", *GENES]], [["", "ids", "label", "x", "y"]]
    spots = [["x", "y", "new_x", "new_y", "pixel_x", "pixel_y", "selected"]]
    labels = [["Row.names", "x", "y", "pixel_x", "pixel_y", "label"]]
    for y in range(FIRST[1], FIRST[1] + SIDE):
        for x in range(FIRST[0], FIRST[0] + SIDE):
            new = np.round([x, y] + rng.uniform(-0.05, 0.05, 2), 3)
            pixel = np.round((new - 1) * STEP, 2)
            left, top = (pixel - STEP / 2).astype(int)
            square = image[top : top + int(STEP), left : left + int(STEP)]
            texture = rng.integers(-12, 13, square.shape[:2])[..., None]
            square[:] = np.clip(spot_colour(x, y) + texture, 0, 255)
            values = rng.poisson([20, 8, 30 + x, 5]) + 1
            counts.append([f"{x}x{y}", *map(str, values)])
            spots.append([str(x), str(y), *map(str, new), *map(str, pixel), "1"])
            clusters.append(
                [f"{pixel[0]}x{pixel[1]}", name, str(x % 3), str(x), str(y)]
            )
            kind = "Invasive  cancer" if x % 2 else "undetermined"
            labels.append(["row", *map(str, new), "0", "0", kind])
    order = rng.permutation(len(counts) - 1) + 1  # upstream's files are not in step
    counts = [counts[0], *(counts[i] for i in order)]
    return MadeSection(name, image, counts, spots, clusters, labels)


@pytest.fixture
def made() -> Callable[..., MadeSection]:
    """Makes the content of one section: `made("C2")`."""
    return make_section


@pytest.fixture
def colour_of() -> Callable[[int, int], np.ndarray]:
    """The colour that a made-up image has at a spot."""
    return spot_colour
