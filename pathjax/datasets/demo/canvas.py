"""The drawing surface of a synthetic tile: grids in micrometres, and smooth noise.

All geometry is in micrometres, so that a nucleus keeps its size at any pixel size. Two
grids cover a tile: a fine one (about 0.5 µm) for drawing, and knots 1 µm apart on which
smooth fields (distances, masks) are computed and then interpolated by a cubic B-spline.
Matrix products and FFTs are avoided: their rounding may depend on the number of threads,
and a tile's bytes must not. Nothing here depends on the tissue.
"""

import dataclasses
import functools

import numpy as np
from jaxtyping import Float

FINEST_UM = 0.5  # side of a drawing pixel; finer than the optics of a 20x scan
KNOT_UM = 1.0
# Standard deviation of a cubic B-spline surface with unit normal coefficients, at an
# average place: (151/315) per axis is the mean of the squared weights.
SURFACE_SD = 151 / 315

Surface = Float[np.ndarray, "N N"]
Points = Float[np.ndarray, "n 2"]


@functools.lru_cache(maxsize=64)
def spline_taps(
    n: int, step: float, scale: float
) -> tuple[int, Float[np.ndarray, "4 n"], np.ndarray]:
    """Knots needed, the four cubic B-spline weights, and the first knot per pixel.

    Of `n` pixels with centres at (i + 0.5) * step µm; knot k is at (k - 1) * scale µm.
    """
    position = (np.arange(n) + 0.5) * step / scale
    first = np.floor(position).astype(np.intp)
    t = position - first
    weights = np.stack(
        [
            (1 - t) ** 3 / 6,
            (3 * t**3 - 6 * t**2 + 4) / 6,
            (-3 * t**3 + 3 * t**2 + 3 * t + 1) / 6,
            t**3 / 6,
        ]
    ).astype(np.float32)
    return int(first[-1]) + 4, weights, first


def lift(knots: Float[np.ndarray, "k k"], n: int, step: float, scale: float) -> Surface:
    """Cubic B-spline surface `[n, n]` with the given knot coefficients."""
    _, weights, first = spline_taps(n, step, scale)
    rows = sum(weights[j][:, None] * knots[first + j] for j in range(4))
    columns = np.ascontiguousarray(rows.T)
    return np.ascontiguousarray(
        sum(weights[j][:, None] * columns[first + j] for j in range(4)).T
    )


@dataclasses.dataclass(frozen=True)
class Canvas:
    """A square tile of `side` µm, `n` x `n` drawing pixels, `oversampling` per axis."""

    side: float
    n: int
    oversampling: int

    @property
    def step(self) -> float:
        """Side of a drawing pixel, µm."""
        return self.side / self.n

    @functools.cached_property
    def knots(self) -> tuple[Float[np.ndarray, "k 1"], Float[np.ndarray, "1 k"]]:
        """Positions (y, x) in µm of the knots that `smooth` interpolates."""
        count, _, _ = spline_taps(self.n, self.step, KNOT_UM)
        place = ((np.arange(count) - 1) * KNOT_UM).astype(np.float32)
        return place[:, None], place[None, :]

    @functools.cached_property
    def pixels(self) -> tuple[Float[np.ndarray, "N 1"], Float[np.ndarray, "1 N"]]:
        """Positions (y, x) in µm of the drawing pixels' centres."""
        place = ((np.arange(self.n) + 0.5) * self.step).astype(np.float32)
        return place[:, None], place[None, :]

    def smooth(self, knots: Float[np.ndarray, "k k"]) -> Surface:
        """Interpolates a field on `knots` to the drawing pixels."""
        return lift(knots, self.n, self.step, KNOT_UM)

    def noise(self, rng: np.random.Generator, scale: float) -> Surface:
        """Smooth noise of about unit variance, features of `scale` µm."""
        return self._noise(rng, scale, self.n, self.step)

    def knot_noise(
        self, rng: np.random.Generator, scale: float
    ) -> Float[np.ndarray, "k k"]:
        """Like `noise`, on the knots; for warps and masks."""
        count = self.knots[0].size
        return self._noise(rng, scale, count, KNOT_UM)

    def _noise(
        self, rng: np.random.Generator, scale: float, n: int, step: float
    ) -> Float[np.ndarray, "m m"]:
        count, _, _ = spline_taps(n, step, scale)
        knots = rng.standard_normal((count, count), np.float32)
        return lift(knots, n, step, scale) * np.float32(1 / SURFACE_SD)

    def at(self, field: Float[np.ndarray, "k k"], points: Points) -> np.ndarray:
        """Values of a knot field at points (y, x) in µm, nearest knot."""
        last = field.shape[0] - 1
        place = np.clip(np.rint(points / KNOT_UM).astype(np.intp) + 1, 0, last)
        return field[place[:, 0], place[:, 1]]


def canvas_of(tile_px: int, mpp: float) -> Canvas:
    """The canvas of a tile of `tile_px` pixels of `mpp` µm: at most 0.5 µm per pixel."""
    oversampling = max(1, int(np.ceil(mpp / FINEST_UM - 1e-6)))
    return Canvas(tile_px * mpp, tile_px * oversampling, oversampling)


@dataclasses.dataclass(frozen=True)
class Fibres:
    """A wavy direction field: `along` and `across` are coordinates in µm.

    Attributes:
      angle: mean direction in radians, from the x axis.
      wave: displacement across the fibres on the knots, µm.
    """

    angle: float
    wave: Float[np.ndarray, "k k"]

    def coordinates(self, y, x, wave):
        """(along, across) of positions in µm; `wave` is the displacement there."""
        sine, cosine = np.float32(np.sin(self.angle)), np.float32(np.cos(self.angle))
        return x * cosine + y * sine, y * cosine - x * sine + wave

    def texture(
        self, canvas: Canvas, rng: np.random.Generator, length: float, width: float
    ) -> Surface:
        """Noise stretched along the fibres: features of `length` x `width` µm."""
        lattice = rng.standard_normal((64, 64), np.float32)
        coarse = width > 4 * KNOT_UM  # the knots resolve it, and are cheaper
        places = canvas.knots if coarse else canvas.pixels
        wave = self.wave if coarse else canvas.smooth(self.wave)
        along, across = self.coordinates(*places, wave)
        field = bilinear(
            lattice, across / np.float32(width), along / np.float32(length)
        )
        return canvas.smooth(field) if coarse else field


def fibres(canvas: Canvas, rng: np.random.Generator, waviness: float) -> Fibres:
    """Samples a direction field; `waviness` is the amplitude in µm."""
    wave = canvas.knot_noise(rng, 26.0) + np.float32(0.4) * canvas.knot_noise(rng, 9.0)
    wave *= np.float32(waviness)
    return Fibres(float(rng.uniform(0, np.pi)), wave)


def bilinear(lattice: np.ndarray, rows: Surface, columns: Surface) -> Surface:
    """Interpolates a periodic lattice (64 x 64) with smoothstep weights."""
    size = lattice.shape[0]
    row, column = np.floor(rows), np.floor(columns)
    v, u = rows - row, columns - column
    v, u = v * v * (3 - 2 * v), u * u * (3 - 2 * u)
    row, column = row.astype(np.int32) % size, column.astype(np.int32) % size
    below, right = (row + 1) % size, (column + 1) % size
    flat = lattice.ravel()
    row, below = row * size, below * size
    top = flat[row + column] * (1 - u) + flat[row + right] * u
    bottom = flat[below + column] * (1 - u) + flat[below + right] * u
    return (top * (1 - v) + bottom * v) * np.float32(1.6)
