"""Nuclei: position, appearance and haematoxylin.

A nucleus is an ellipse with a warped outline, an anti-aliased edge, a rim darker than
its centre (the membrane of a vesicular nucleus), clumped chromatin and a nucleolus. All
nuclei of a tile are drawn at once, as square stamps of equal size. `architecture.py`
places them in tissue.
"""

import dataclasses

import numpy as np
from jaxtyping import Float

from pathjax.datasets.demo.canvas import Canvas, Points, Surface


@dataclasses.dataclass(frozen=True)
class Nuclei:
    """Nuclei of a tile; all arrays are of length n, lengths in µm.

    Attributes:
      place: (y, x) of the centres.
      length, width: semi-axes.
      angle: direction of the long axis, radians from the x axis.
      haem: haematoxylin concentration.
      vesicle: 0 for an even nucleus, towards 1 for a pale centre with a dark rim.
      chromatin: strength of the clumps.
      nucleolus: darkness of the nucleolus.
      outline: how irregular the outline is.
    """

    place: Points
    length: np.ndarray
    width: np.ndarray
    angle: np.ndarray
    haem: np.ndarray
    vesicle: np.ndarray
    chromatin: np.ndarray
    nucleolus: np.ndarray
    outline: np.ndarray

    def __len__(self) -> int:
        return len(self.length)

    def take(self, index: np.ndarray) -> "Nuclei":
        """The nuclei selected by `index` (a mask or indices)."""
        return Nuclei(
            *(getattr(self, one.name)[index] for one in dataclasses.fields(self))
        )

    def changed(self, index: np.ndarray, other: "Nuclei") -> "Nuclei":
        """A copy with `other`'s appearance where mask `index` is True; positions stay."""
        arrays = {"place": self.place}
        for field in dataclasses.fields(self)[1:]:
            mine, theirs = getattr(self, field.name), getattr(other, field.name)
            arrays[field.name] = np.where(index, theirs, mine)
        return Nuclei(**arrays)


def joined(groups: list[Nuclei]) -> Nuclei:
    """All nuclei of several groups; at least one group."""
    return Nuclei(
        *(
            np.concatenate([getattr(group, one.name) for group in groups])
            for one in dataclasses.fields(Nuclei)
        )
    )


def nuclei(
    rng: np.random.Generator,
    place: Points,
    *,
    diameter: float,
    spread: float,
    elongation: float,
    haem: float,
    angle: np.ndarray | None = None,
    vesicle: float = 0.2,
    chromatin: float = 0.2,
    nucleolus: float = 0.0,
    outline: float = 0.06,
) -> Nuclei:
    """Samples nuclei at the given positions.

    Args:
      rng: random generator.
      place: (y, x) in µm.
      diameter: mean diameter in µm of the circle of equal area.
      spread: coefficient of variation of the diameter (log-normal).
      elongation: mean ratio of long to short axis.
      haem, vesicle, chromatin, nucleolus, outline: see `Nuclei`.
      angle: directions; random when not given.
    """
    n = len(place)
    radius = 0.5 * diameter * np.exp(spread * rng.standard_normal(n))
    ratio = np.maximum(1 + (elongation - 1) * rng.gamma(4.0, 0.25, n), 1)
    if angle is None:
        angle = rng.uniform(0, np.pi, n)
    darkness = np.exp((0.10 + 0.8 * spread) * rng.standard_normal(n))
    # Larger nuclei hold about as much stain in a larger area: slightly paler.
    dilution = (radius / (0.5 * diameter)) ** -0.3
    return Nuclei(
        place=np.asarray(place, np.float32).reshape(n, 2),
        length=(radius * np.sqrt(ratio)).astype(np.float32),
        width=(radius / np.sqrt(ratio)).astype(np.float32),
        angle=np.asarray(angle, np.float32),
        haem=(haem * darkness * dilution).astype(np.float32),
        vesicle=np.clip(vesicle + 0.12 * rng.standard_normal(n), 0, 0.9).astype("f4"),
        chromatin=np.full(n, chromatin, np.float32),
        nucleolus=(nucleolus * rng.uniform(0.3, 1.5, n)).astype(np.float32),
        outline=np.full(n, outline, np.float32),
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
    flats, edges, values = [], [], []
    # Two stamp sizes, so that a giant nucleus does not enlarge every stamp.
    order = np.argsort(cells.length, kind="stable")
    for chosen in np.split(order, [int(0.8 * len(cells))]):
        if len(chosen):
            group = cells.take(chosen)
            side = rng.uniform(-0.35, 0.35, (2, len(group))).astype(np.float32)
            flat, edge, value = stamps(canvas, group, side, chromatin, outline)
            flats.append(flat)
            edges.append(edge)
            values.append(value)
    if not flats:
        return np.zeros((2, canvas.n, canvas.n), np.float32)
    flat, edge = np.concatenate(flats), np.concatenate(edges)
    cover = np.bincount(flat, edge, size).astype(np.float32)
    haem = np.bincount(flat, np.concatenate(values), size).astype(np.float32)
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
