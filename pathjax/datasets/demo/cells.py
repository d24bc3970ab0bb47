"""Positions of cells (lattices, borders, glands) and their nuclei, in micrometres.

A nucleus is an ellipse with a warped outline, an anti-aliased edge, a dark rim, clumped
chromatin and a nucleolus. All nuclei of a tile are drawn at once, as square stamps.
`tumours.py` and `tissue.py` decide what is drawn where.
"""

import dataclasses
from typing import NamedTuple

import numpy as np
from jaxtyping import Float

from pathjax.datasets.demo.canvas import Canvas, Points, Surface

Knots = Float[np.ndarray, "k k"]
MARGIN_UM = 12.0  # cells are placed this far outside a tile, so that its edge looks like its centre


def lattice(
    canvas: Canvas,
    rng: np.random.Generator,
    spacing: float,
    jitter: float = 0.22,
    margin: float = MARGIN_UM,
) -> Points:
    """A rotated hexagonal lattice, displaced by `jitter` spacings (s.d.)."""
    half = canvas.side / 2 + margin
    rows = int(np.ceil(half * np.sqrt(2) / spacing / 0.866)) + 1
    columns = int(np.ceil(half * np.sqrt(2) / spacing)) + 1
    i = np.arange(-rows, rows + 1)[:, None]
    j = np.arange(-columns, columns + 1)[None, :]
    y = np.broadcast_to(i * 0.866, (i.size, j.size)).ravel()
    x = (j + 0.5 * (i % 2)).ravel()
    angle, shift = rng.uniform(0, np.pi), rng.uniform(-0.5, 0.5, 2)
    sine, cosine = np.sin(angle), np.cos(angle)
    points = np.stack([y * cosine + x * sine, x * cosine - y * sine], axis=1)
    points += shift + jitter * rng.standard_normal(points.shape)
    points = points * spacing
    kept = points[(np.abs(points) < half).all(axis=1)]
    return (kept + canvas.side / 2).astype(np.float32)


def borders(canvas: Canvas, points: Points) -> tuple[Knots, Knots, np.ndarray]:
    """Voronoi cells of the points, on the knots.

    Returns:
      (nearest, gap, owner): distance to the nearest point, how much farther the second
      nearest is (0 on a border between cells), and the index of the nearest.
    """
    y, x = canvas.knots
    count = y.size
    if len(points) < 2:
        far = np.full((count, count), 1e3, np.float32)
        return far, far, np.zeros((count, count), np.intp)
    dy = (y.ravel()[:, None] - points[:, 0]) ** 2  # [k, n]
    dx = (x.ravel()[:, None] - points[:, 1]) ** 2
    square = (dy[:, None, :] + dx[None, :, :]).reshape(count * count, -1)
    owner = square.argmin(axis=1)
    rows = np.arange(count * count)
    nearest = np.sqrt(square[rows, owner])
    square[rows, owner] = np.inf
    gap = np.sqrt(square.min(axis=1)) - nearest
    shape = (count, count)
    return nearest.reshape(shape), gap.reshape(shape), owner.reshape(shape)


@dataclasses.dataclass(frozen=True)
class Bodies:
    """Ellipses in a warped plane: glands, nests, tubules. Arrays of length n, µm."""

    centre: Points  # (y, x) in the warped plane
    radius: np.ndarray  # mean of both axes
    stretch: np.ndarray  # long axis over mean radius
    angle: np.ndarray  # of the long axis
    warp: tuple[Knots, Knots]  # displacement (y, x) on the knots

    def depths(self, y, x) -> np.ndarray:
        """Depth in µm inside each body at positions of the warped plane; negative outside.

        `y` and `x` broadcast together; their last axis of length 1 becomes the bodies'.
        """
        dy, dx = y - self.centre[:, 0], x - self.centre[:, 1]
        sine, cosine = np.sin(self.angle), np.cos(self.angle)
        along = (dx * cosine + dy * sine) / self.stretch
        across = (dy * cosine - dx * sine) * self.stretch
        return self.radius - np.sqrt(along * along + across * across)

    def depth(self, canvas: Canvas) -> tuple[Knots, np.ndarray]:
        """Depth in the innermost body on the knots, and that body's index."""
        y, x = canvas.knots
        each = self.depths(
            (y + self.warp[0])[:, :, None], (x + self.warp[1])[:, :, None]
        )
        owner = each.argmax(axis=2)
        return np.take_along_axis(each, owner[:, :, None], 2)[:, :, 0], owner

    def ring(
        self,
        canvas: Canvas,
        rng: np.random.Generator,
        depth: float,
        spacing: float,
        scatter: float,
    ) -> tuple[Points, np.ndarray, np.ndarray]:
        """Positions along each body's outline, `depth` µm inside it.

        Returns:
          (place, angle, owner): (y, x) in the tile, direction to the body's centre, and
          the index of the body.
        """
        ring = np.maximum(self.radius - depth, 0.5)
        counts = np.maximum(np.rint(2 * np.pi * ring / spacing), 1).astype(int)
        owner = np.repeat(np.arange(len(counts)), counts)
        order = np.concatenate([np.arange(count) for count in counts])
        turn = rng.uniform(0, 1, len(counts))[owner]
        turn = turn + (order + 0.18 * rng.standard_normal(len(owner))) / counts[owner]
        t = 2 * np.pi * turn
        inward = ring[owner] + scatter * rng.standard_normal(len(owner))
        along = inward * np.cos(t) * self.stretch[owner]
        across = inward * np.sin(t) / self.stretch[owner]
        sine, cosine = np.sin(self.angle[owner]), np.cos(self.angle[owner])
        dy, dx = along * sine + across * cosine, along * cosine - across * sine
        warped = self.centre[owner] + np.stack([dy, dx], axis=1)
        # A position as deep in another body is not on the joint outline.
        every = self.depths(warped[:, :1], warped[:, 1:])
        own = every[np.arange(len(owner)), owner]
        free = every.max(axis=1) < own + 1.0
        shift = np.stack([canvas.at(w, warped) for w in self.warp], axis=1)
        place = (warped - shift).astype(np.float32)
        inside = (place > -MARGIN_UM) & (place < canvas.side + MARGIN_UM)
        kept = free & inside.all(axis=1)
        return place[kept], np.arctan2(dy, dx)[kept], owner[kept]


def bodies(
    canvas: Canvas,
    rng: np.random.Generator,
    *,
    radius: float,
    gap: float,
    stretch: float = 1.2,
    warp: float = 3.0,
    spread: float = 0.18,
) -> Bodies:
    """Samples bodies of about `radius` µm, `gap` µm apart, over the tile.

    `stretch` is the maximum ratio of long axis to mean radius, `warp` the displacement
    of outlines in µm, `spread` the coefficient of variation of the radius.
    """
    centre = lattice(canvas, rng, 2 * radius + gap, 0.10, margin=2 * radius)
    n = len(centre)
    return Bodies(
        centre=centre,
        radius=(radius * np.exp(spread * rng.standard_normal(n))).astype("f4"),
        stretch=rng.uniform(1, stretch, n).astype("f4"),
        angle=rng.uniform(0, np.pi, n).astype("f4"),
        warp=tuple(canvas.knot_noise(rng, 14.0) * np.float32(warp) for _ in range(2)),
    )


class Look(NamedTuple):
    """Means and variation of a kind of nucleus; for the rest see `Nuclei`.

    `diameter` is that of the circle of equal area in µm, `spread` its coefficient of
    variation (log-normal), `elongation` the ratio of long to short axis.
    """

    diameter: float
    spread: float
    elongation: float
    haem: float
    vesicle: float = 0.2
    chromatin: float = 0.2
    nucleolus: float = 0.0
    outline: float = 0.06


@dataclasses.dataclass(frozen=True)
class Nuclei:
    """Nuclei of a tile; all arrays are of length n, lengths in µm."""

    place: Points  # (y, x) of the centres
    length: np.ndarray  # semi-axes
    width: np.ndarray
    angle: np.ndarray  # of the long axis, radians from the x axis
    haem: np.ndarray  # haematoxylin concentration
    vesicle: np.ndarray  # 0 even, towards 1 a pale centre with a dark rim
    chromatin: np.ndarray  # strength of the clumps
    nucleolus: np.ndarray  # darkness
    outline: np.ndarray  # how irregular it is

    def __len__(self) -> int:
        return len(self.length)

    def take(self, index: np.ndarray) -> "Nuclei":
        """The nuclei selected by `index` (a mask or indices)."""
        return Nuclei(*(array[index] for array in vars(self).values()))

    def changed(self, index: np.ndarray, other: "Nuclei") -> "Nuclei":
        """A copy with `other`'s appearance where mask `index` is True; positions stay."""
        pairs = zip(vars(self).values(), vars(other).values(), strict=True)
        _, *looks = pairs
        return Nuclei(self.place, *(np.where(index, b, a) for a, b in looks))


def joined(groups: list[Nuclei]) -> Nuclei:
    """All nuclei of several groups; at least one group."""
    columns = zip(*(vars(group).values() for group in groups), strict=True)
    return Nuclei(*map(np.concatenate, columns))


def nuclei(
    rng: np.random.Generator, place: Points, look: Look, angle: np.ndarray | None = None
) -> Nuclei:
    """Samples nuclei of one look at (y, x) in µm; random directions without `angle`."""
    n = len(place)
    radius = 0.5 * look.diameter * np.exp(look.spread * rng.standard_normal(n))
    ratio = np.maximum(1 + (look.elongation - 1) * rng.gamma(4.0, 0.25, n), 1)
    if angle is None:
        angle = rng.uniform(0, np.pi, n)
    darkness = np.exp((0.10 + 0.8 * look.spread) * rng.standard_normal(n))
    # Larger nuclei hold about as much stain in a larger area: slightly paler.
    dilution = (radius / (0.5 * look.diameter)) ** -0.3
    vesicle = look.vesicle + 0.12 * rng.standard_normal(n)
    return Nuclei(
        place=np.asarray(place, np.float32).reshape(n, 2),
        length=(radius * np.sqrt(ratio)).astype(np.float32),
        width=(radius / np.sqrt(ratio)).astype(np.float32),
        angle=np.asarray(angle, np.float32),
        haem=(look.haem * darkness * dilution).astype(np.float32),
        vesicle=np.clip(vesicle, 0, 0.9).astype("f4"),
        chromatin=np.full(n, look.chromatin, np.float32),
        nucleolus=(look.nucleolus * rng.uniform(0.3, 1.5, n)).astype(np.float32),
        outline=np.full(n, look.outline, np.float32),
    )


def draw_nuclei(
    canvas: Canvas, rng: np.random.Generator, cells: Nuclei
) -> tuple[Surface, Surface]:
    """Haematoxylin and cover (0 to 1) of the nuclei, both `[N, N]`.

    Where nuclei overlap, the stain is darker than that of a single nucleus but less than
    the sum, because the section cuts each of them.
    """
    size = canvas.n * canvas.n
    chromatin = canvas.noise(rng, 0.9) + 0.6 * canvas.noise(rng, 1.8)
    outline = canvas.noise(rng, 2.6)
    stamped = []
    # Two stamp sizes, so that a giant nucleus does not enlarge every stamp.
    order = np.argsort(cells.length, kind="stable")
    for chosen in np.split(order, [int(0.8 * len(cells))]):
        if len(chosen):
            group = cells.take(chosen)
            side = rng.uniform(-0.35, 0.35, (2, len(group))).astype(np.float32)
            stamped.append(stamps(canvas, group, side, chromatin, outline))
    if not stamped:
        return np.zeros((2, canvas.n, canvas.n), np.float32)
    flat, edge, values = map(np.concatenate, zip(*stamped, strict=True))
    cover = np.bincount(flat, edge, size).astype(np.float32)
    haem = np.bincount(flat, values, size).astype(np.float32)
    haem *= np.maximum(cover, 1) ** np.float32(-0.65)
    shape = (canvas.n, canvas.n)
    return haem.reshape(shape), np.minimum(cover, 1).reshape(shape)


def stamps(
    canvas: Canvas,
    cells: Nuclei,
    side: Float[np.ndarray, "2 n"],
    chromatin: Surface,
    outline: Surface,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Flat index, cover and haematoxylin of all pixels that nuclei touch."""
    step = np.float32(canvas.step)
    reach = int(np.ceil(1.25 * float(cells.length.max()) / canvas.step)) + 1
    centre = np.floor(cells.place / step).astype(np.int32)
    window = np.arange(-reach, reach + 1, dtype=np.int32)
    rows, columns = centre[:, :1] + window, centre[:, 1:] + window  # [n, W]
    dy = ((rows + np.float32(0.5)) * step - cells.place[:, :1])[:, :, None]
    dx = ((columns + np.float32(0.5)) * step - cells.place[:, 1:])[:, None, :]
    sine, cosine = np.sin(cells.angle), np.cos(cells.angle)
    # The squared distance in units of the outline, as a quadratic form: [n, W, W].
    a, b = 1 / cells.length, 1 / cells.width
    yy = ((sine * a) ** 2 + (cosine * b) ** 2)[:, None, None]
    xx = ((cosine * a) ** 2 + (sine * b) ** 2)[:, None, None]
    xy = (2 * sine * cosine * (a**2 - b**2))[:, None, None]
    square = yy * (dy * dy) + xx * (dx * dx) + (xy * dy) * dx
    on_rows = (rows >= 0) & (rows < canvas.n)
    on_columns = (columns >= 0) & (columns < canvas.n)
    near = (square < 1.55) & on_rows[:, :, None] & on_columns[:, None, :]
    cell, row, column = np.nonzero(near)
    flat = rows[cell, row] * canvas.n + columns[cell, column]
    radius = np.sqrt(square[near])
    radius *= 1 + cells.outline[cell] * outline.ravel()[flat]
    edge = np.clip(0.5 + (1 - radius) * (cells.width / step)[cell], 0, 1)
    rim = np.clip(1 - np.abs(radius - np.float32(0.88)) * 4.5, 0, 1)
    body = 1 + cells.vesicle[cell] * (rim - 1)
    body *= 1 + cells.chromatin[cell] * chromatin.ravel()[flat]
    if cells.nucleolus.max() > 0.05:
        y, x = dy[cell, row, 0], dx[cell, 0, column]
        along = (x * cosine[cell] + y * sine[cell]) * a[cell] - side[0][cell]
        across = (y * cosine[cell] - x * sine[cell]) * b[cell] - side[1][cell]
        spot = np.clip(1 - 9 * (along * along + across * across), 0, 1)
        body += cells.nucleolus[cell] * spot
    return flat, edge, edge * cells.haem[cell] * np.maximum(body, np.float32(0.1))
