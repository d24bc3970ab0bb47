"""One gene over a slide: tiles coloured by expression on the slide's picture.

The picture lies below in pale grey, or the violet of the stain would be read as the low
end of the colours; what it looks like is shown beside it.

Drawn without pyplot, as report/figures.py does. The colour map is viridis, which is
perceptually uniform and keeps its order in grey and for colour-blind readers. Colours
span the 1st to the 99th percentile of what is drawn, so one odd tile takes no range.
"""

import math
from pathlib import Path

import numpy as np
from jaxtyping import Bool, Float
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from matplotlib.figure import Figure

from pathjax.files import atomic_path
from pathjax.predict.pictures import Picture
from pathjax.report.figures import folded, plain

COLOURS = "viridis"
OPACITY = 0.75  # of a tile's colour: tissue is still seen through it
PALE = 0.55  # how far towards white the grey of the picture goes
RANGE = (1, 99)  # percentiles


def painted(
    picture: Picture,
    x: Float[np.ndarray, "n"],
    y: Float[np.ndarray, "n"],
    side: Float[np.ndarray, "n"],
    values: Float[np.ndarray, "n"],
) -> Float[np.ndarray, "h w"]:
    """Squares of `values` in the picture's pixels; NaN where no tile is.

    Where squares overlap it is their mean. One raster, so that a slide of 100,000 tiles
    costs as much to draw as one of ten.
    """
    height, width = picture.pixels.shape[:2]
    total = np.zeros((height, width))
    count = np.zeros((height, width))
    low_x, low_y, high_x, high_y = (
        np.rint(np.clip(edge * picture.scale, 0, limit)).astype(int)
        for edge, limit in (
            (x - side / 2, width),
            (y - side / 2, height),
            (x + side / 2, width),
            (y + side / 2, height),
        )
    )
    # A tile smaller than a pixel still gets one.
    high_x, high_y = np.maximum(high_x, low_x + 1), np.maximum(high_y, low_y + 1)
    for place in np.flatnonzero(np.isfinite(values)):
        at = (
            slice(low_y[place], high_y[place]),
            slice(low_x[place], high_x[place]),
        )
        total[at] += values[place]
        count[at] += 1
    with np.errstate(invalid="ignore"):
        return np.where(count > 0, total / count, np.nan)


def pale(picture: Picture) -> Float[np.ndarray, "h w 3"]:
    """The picture in grey, made pale; 0 to 1."""
    grey = picture.pixels.mean(axis=2, keepdims=True) / 255
    return np.repeat(PALE + (1 - PALE) * grey, 3, axis=2)


def span(values: Float[np.ndarray, "n"]) -> tuple[float, float]:
    """The range of colours."""
    known = values[np.isfinite(values)]
    if not len(known):
        return 0.0, 1.0
    low, high = np.percentile(known, RANGE)
    return (float(low), float(high)) if high > low else (float(low), float(low) + 1.0)


def draw_panel(
    axes: Axes,
    picture: Picture,
    raster: Float[np.ndarray, "h w"],
    limits: tuple[float, float],
    *,
    title: str,
    unit: str,
    level0_mpp: float,
) -> None:
    """One map on axes: picture, tiles, colour bar with the unit, scale bar."""
    axes.imshow(pale(picture))
    colours = Normalize(*limits)
    axes.imshow(raster, cmap=COLOURS, norm=colours, alpha=OPACITY, interpolation="none")
    crop(axes, np.isfinite(raster))
    bare(axes, title)
    bar = axes.figure.colorbar(
        ScalarMappable(colours, COLOURS), ax=axes, fraction=0.045, pad=0.02, shrink=0.8
    )
    bar.set_label(folded(unit, 36), fontsize=6)
    bar.ax.tick_params(labelsize=6)
    scale_bar(axes, level0_mpp / picture.scale)


def bare(axes: Axes, title: str) -> None:
    """Axes of a picture: a title and no numbers."""
    axes.set_xticks([])
    axes.set_yticks([])
    axes.set_title(title, fontsize=8)


def crop(axes: Axes, covered: Bool[np.ndarray, "h w"]) -> None:
    """Shows where tiles are, with a margin, and not the glass around."""
    rows, columns = np.flatnonzero(covered.any(1)), np.flatnonzero(covered.any(0))
    if not len(rows):
        return
    height, width = covered.shape
    margin = 0.04 * max(rows[-1] - rows[0], columns[-1] - columns[0]) + 4
    axes.set_xlim(
        max(-0.5, columns[0] - margin), min(width - 0.5, columns[-1] + margin)
    )
    axes.set_ylim(min(height - 0.5, rows[-1] + margin), max(-0.5, rows[0] - margin))


def scale_bar(axes: Axes, um_per_px: float) -> None:
    """A bar of a round length, about a fifth of what is shown; none without a scale."""
    if not math.isfinite(um_per_px):
        return
    left, right = axes.get_xlim()
    bottom, top = axes.get_ylim()
    wanted = abs(right - left) * um_per_px / 5
    power = 10.0 ** math.floor(math.log10(wanted))
    length = max(step for step in (1, 2, 5) if step * power <= wanted) * power
    label = f"{length / 1000:g} mm" if length >= 1000 else f"{length:g} µm"
    x = left + 0.04 * (right - left)
    y = bottom + 0.04 * (top - bottom)
    end = x + length / um_per_px
    for colour, thick in (("white", 4), ("black", 2)):  # seen on tissue and on glass
        axes.plot([x, end], [y, y], color=colour, linewidth=thick, zorder=3)
    axes.annotate(
        label,
        ((x + end) / 2, y),
        xytext=(0, 3),
        textcoords="offset points",
        ha="center",
        fontsize=6,
        bbox={"facecolor": "white", "alpha": 0.7, "pad": 0.5, "linewidth": 0},
    )


def draw_map(
    path: Path,
    picture: Picture,
    raster: Float[np.ndarray, "h w"],
    values: Float[np.ndarray, "n"],
    *,
    title: str,
    note: str,
    unit: str,
    level0_mpp: float,
) -> None:
    """Writes one gene's map of one slide as PNG.

    Args:
      path: of the PNG.
      picture: the slide.
      raster: of `painted`.
      values: of the tiles, for the range of colours.
      title: gene and slide.
      note: below it: what it is, and whatever has to be said aloud.
      unit: beside the colour bar.
      level0_mpp: micrometres per level-0 pixel; NaN draws no scale bar.
    """
    figure = Figure(figsize=(9.6, 4.8), dpi=130, layout="constrained")
    stained, coloured = figure.subplots(1, 2)
    stained.imshow(picture.pixels)
    crop(stained, np.isfinite(raster))
    bare(stained, folded(picture.source, 60))
    draw_panel(
        coloured,
        picture,
        raster,
        span(values),
        title=plain(title),
        unit=unit,
        level0_mpp=level0_mpp,
    )
    figure.supxlabel(folded(note, 160), fontsize=6)
    with atomic_path(path) as partial:
        figure.savefig(partial)
