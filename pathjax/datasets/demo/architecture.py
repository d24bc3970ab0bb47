"""Positions of cells: lattices, cell borders, glands and nests, in micrometres.

Geometry on a canvas' knots only; `tissue.py` decides what is drawn there.
"""

import dataclasses

import numpy as np
from jaxtyping import Float

from pathjax.datasets.demo.canvas import Canvas, Points

Knots = Float[np.ndarray, "k k"]
MARGIN_UM = 12.0  # cells are placed this far outside a tile, so that its edge looks like its centre


def lattice(
    canvas: Canvas,
    rng: np.random.Generator,
    spacing: float,
    jitter: float = 0.22,
    margin: float = MARGIN_UM,
) -> Points:
    """A rotated, jittered hexagonal lattice over the tile.

    Args:
      canvas: the tile.
      rng: random generator.
      spacing: distance between neighbours, µm.
      jitter: standard deviation of the displacement, in spacings.
      margin: how far points extend beyond the tile's edge, µm.
    """
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
    """Ellipses in a warped plane: glands, nests, tubules. Arrays of length n.

    Attributes:
      centre: (y, x) in µm, of the warped plane.
      radius: mean radius, µm.
      stretch: long axis over mean radius.
      angle: of the long axis.
      warp: displacement (y, x) on the knots, µm.
    """

    centre: Points
    radius: np.ndarray
    stretch: np.ndarray
    angle: np.ndarray
    warp: tuple[Knots, Knots]

    def depths(self, y, x) -> np.ndarray:
        """Depth in µm inside each body at positions of the warped plane; negative outside.

        Args:
          y, x: arrays that broadcast together, trailing axis of length 1 for bodies.
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
    """Draws bodies of about `radius` µm, `gap` µm apart, over the tile.

    Args:
      canvas: the tile.
      rng: random generator.
      radius, gap: µm.
      stretch: maximum ratio of long axis to mean radius.
      warp: displacement of outlines, µm.
      spread: coefficient of variation of the radius.
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
