"""Slides at low magnification, and one gene over them: tiles coloured by expression.

The picture is the slide's own, one that the user gives, or a mosaic of a study's tiles.
Under the colours it is pale grey, or the violet of the stain would be read as the low
end of viridis, the colour map; the picture itself is shown beside it. Colours span the
1st to the 99th percentile of what is drawn, so that an outlier does not stretch them.
"""

import contextlib
import dataclasses
import math
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np
import pandas as pd
from jaxtyping import Bool, Float, UInt8
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from PIL import Image

from pathjax.data.images import decode_tile
from pathjax.data.study import Study
from pathjax.report.style import folded, plain, save
from pathjax.wsi.base import SUFFIXES, SlideError
from pathjax.wsi.overview import THUMBNAIL_PX, Overview, read_overview
from pathjax.wsi.slide import open_slide

WHITE = 255
COLOURS = "viridis"
OPACITY = 0.75  # of a tile's colour, so that tissue shows through
PALE = 0.55  # how far towards white the grey of the picture goes
RANGE = (1, 99)  # percentiles


@dataclasses.dataclass(frozen=True)
class Picture:
    """A slide at low magnification.

    Attributes:
      pixels: RGB `[h, w, 3]`.
      scale: Its pixels per level-0 pixel.
      source: Its origin, in words.
    """

    pixels: UInt8[np.ndarray, "h w 3"]
    scale: float
    source: str


def shrunk(overview: Overview, source: str) -> Picture:
    """An overview with its longer side at most THUMBNAIL_PX."""
    height, width = overview.pixels.shape[:2]
    factor = min(1.0, THUMBNAIL_PX / max(height, width))
    size = (max(1, round(width * factor)), max(1, round(height * factor)))
    image = Image.fromarray(overview.pixels).resize(size, Image.Resampling.BICUBIC)
    return Picture(np.asarray(image), factor / overview.scale, source)


def of_study(
    study: Study,
    rows: np.ndarray,
    table: pd.DataFrame,
    mpp: float,
    given: Path | None = None,
) -> Picture:
    """A picture of one slide of a study.

    Args:
      study: With the tiles.
      rows: Of the slide's tiles.
      table: The same tiles, with `slide_id`, `x` and `y` of the centre.
      mpp: Of level 0.
      given: Folder with a picture of each slide at level 0, SLIDE.jpg or the like.

    Raises:
      SlideError: The given folder lacks the picture, or it cannot be read.
    """
    name = table["slide_id"].iloc[0]
    for path in _candidates(study, name, given):
        if path.is_file():
            with contextlib.closing(open_slide(path)) as slide:
                return shrunk(read_overview(slide, mpp), path.name)
    if given is not None:
        raise SlideError(
            f"{given} has no picture of slide {name}: expected {name} with one of the "
            f"suffixes {', '.join(SUFFIXES)}"
        )
    return mosaic(_decoded(study, rows), table, study.tile_px * study.mpp / mpp)


def _candidates(study: Study, name: str, given: Path | None) -> list[Path]:
    if given is not None:
        return [given / f"{name}{suffix}" for suffix in SUFFIXES]
    if study.has_slide_table:
        slides = study.slides.set_index("slide_id")["path"]
        return [Path(str(slides[name]))] if name in slides else []
    return []


def _decoded(study: Study, rows: np.ndarray) -> Iterator[UInt8[np.ndarray, "H W 3"]]:
    for start in range(0, len(rows), 256):
        yield from map(decode_tile, study.tile_bytes(rows[start : start + 256]))


def mosaic(
    tiles: Iterable[UInt8[np.ndarray, "H W 3"]], table: pd.DataFrame, side: float
) -> Picture:
    """Shrunk tiles at their positions; white between them.

    Args:
      tiles: One per row of `table`.
      table: With `x` and `y` of the centre.
      side: Of a tile in level-0 pixels.
    """
    corner = table[["x", "y"]].to_numpy() - side / 2
    extent = corner.max(axis=0) + side
    scale = min(1.0, THUMBNAIL_PX / extent.max())
    width, height = np.ceil(extent * scale).astype(int)
    pixels = np.full((height, width, 3), WHITE, np.uint8)
    small = max(1, round(side * scale))
    for tile, (x, y) in zip(tiles, corner * scale, strict=True):
        shown = np.asarray(Image.fromarray(tile).resize((small, small)))
        left, top = max(0, round(x)), max(0, round(y))
        area = pixels[top : top + small, left : left + small]
        area[...] = shown[: area.shape[0], : area.shape[1]]
    return Picture(pixels, scale, "mosaic of the tiles")


def painted(
    picture: Picture,
    x: Float[np.ndarray, "n"],
    y: Float[np.ndarray, "n"],
    side: Float[np.ndarray, "n"],
    values: Float[np.ndarray, "n"],
) -> Float[np.ndarray, "h w"]:
    """Squares of `values` in the picture's pixels; their mean where they overlap.

    NaN where there is no tile. Drawing one raster costs the same for 100,000 tiles as
    for ten.
    """
    height, width = picture.pixels.shape[:2]
    total, count = np.zeros((2, height, width))

    def edges(centre, limit):
        ends = np.stack([centre - side / 2, centre + side / 2]) * picture.scale
        low, high = np.rint(np.clip(ends, 0, limit)).astype(int)
        return low, np.maximum(high, low + 1)  # at least one pixel

    (left, right), (top, bottom) = edges(x, width), edges(y, height)
    for tile in np.flatnonzero(np.isfinite(values)):
        at = slice(top[tile], bottom[tile]), slice(left[tile], right[tile])
        total[at] += values[tile]
        count[at] += 1
    with np.errstate(invalid="ignore"):
        return np.where(count > 0, total / count, np.nan)


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
    grey = picture.pixels.mean(axis=2, keepdims=True) / 255
    axes.imshow(np.repeat(PALE + (1 - PALE) * grey, 3, axis=2))
    colours = Normalize(*limits)
    axes.imshow(raster, cmap=COLOURS, norm=colours, alpha=OPACITY, interpolation="none")
    _crop(axes, np.isfinite(raster), title)
    bar = axes.figure.colorbar(
        ScalarMappable(colours, COLOURS), ax=axes, fraction=0.045, pad=0.02, shrink=0.8
    )
    bar.set_label(folded(unit, 36), fontsize=6)
    bar.ax.tick_params(labelsize=6)
    scale_bar(axes, level0_mpp / picture.scale)


def _crop(axes: Axes, covered: Bool[np.ndarray, "h w"], title: str) -> None:
    """Zooms to the tiles, with a margin; a title and no numbers."""
    axes.set_xticks([])
    axes.set_yticks([])
    axes.set_title(title, fontsize=8)
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
    target = abs(right - left) * um_per_px / 5
    power = 10.0 ** math.floor(math.log10(target))
    length = max(step for step in (1, 2, 5) if step * power <= target) * power
    label = f"{length / 1000:g} mm" if length >= 1000 else f"{length:g} µm"
    x, y = left + 0.04 * (right - left), bottom + 0.04 * (top - bottom)
    end = x + length / um_per_px
    for colour, thick in (("white", 4), ("black", 2)):  # visible on tissue and on glass
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
      path: Of the PNG.
      picture: The slide.
      raster: Of `painted`.
      values: Of the tiles, for the range of colours.
      title: Gene and slide.
      note: Below the picture.
      unit: Beside the colour bar.
      level0_mpp: Micrometres per level-0 pixel; NaN draws no scale bar.
    """
    figure = Figure(figsize=(9.6, 4.8), dpi=130, layout="constrained")
    stained, coloured = figure.subplots(1, 2)
    stained.imshow(picture.pixels)
    _crop(stained, np.isfinite(raster), folded(picture.source, 60))
    shown = {"title": plain(title), "unit": unit, "level0_mpp": level0_mpp}
    draw_panel(coloured, picture, raster, span(values), **shown)
    figure.supxlabel(folded(note, 160), fontsize=6)
    save(figure, path, tight=False)
