"""Where tissue is: overview -> saturation, Otsu's threshold -> less pen -> whole areas.

Stained tissue is coloured, glass is not. No network, nothing learned: what it does to a
slide is seen on the slide's thumbnail. It does not judge focus, folds or air bubbles.
"""

import numpy as np
import scipy.ndimage
from jaxtyping import Bool, Float, UInt8
from PIL import Image

RULES = ("otsu", "saturation")
# Otsu's threshold is kept between these (of 255). Below the floor lies glass: JPEG and
# the lamp's tint leave 3 to 10 there, so that a slide of only glass gives no tissue.
# Above the ceiling lies tissue: a region that is tissue throughout would otherwise be
# halved into pale and dark.
OTSU_FLOOR, OTSU_CEILING = 15, 40
FIXED_THRESHOLD = 20  # eva's rule: saturation > 20 of 255

# Ink is told by hue: both dyes of H&E absorb green most, so tissue's hue lies from blue
# violet (240 degrees, red equals green) over purple and pink to red; green, cyan and
# blue ink absorb red most. Black ink is darker than nuclei are at this magnification.
INK_HUES = (70.0, 235.0)  # degrees
INK_SATURATION = 90  # of 255: strokes, not their faint halo
INK_BLACK = 60  # brightest channel of black ink
STROKE_UM2 = 150.0**2  # smaller dark or blue spots are pigment or nuclei, no stroke
HALO_UM = 40.0  # what a stroke's edge tints around it

CLOSE_UM = 16.0  # gaps closed: the chinks of loose stroma
HOLE_UM2 = 300.0**2  # smaller holes are filled: lumina, fat, tears
SPECK_UM2 = 120.0**2  # smaller pieces are dust
CROSS = scipy.ndimage.generate_binary_structure(2, 1)


def find_tissue(
    pixels: UInt8[np.ndarray, "h w 3"], mpp: float, rule: str = "otsu"
) -> Bool[np.ndarray, "h w"]:
    """Mask of tissue.

    Args:
      pixels: the overview, RGB.
      mpp: micrometres per pixel of it.
      rule: "otsu", or "saturation" for eva's fixed threshold.
    """
    if rule not in RULES:
        raise ValueError(f"rule is {rule!r}, wanted one of {', '.join(RULES)}")
    hue, saturation, value = np.moveaxis(
        np.asarray(Image.fromarray(pixels).convert("HSV")), 2, 0
    )
    pen = find_pen(hue, saturation, value, mpp)
    # A mean over 3 x 3 first: single noisy pixels of the glass are not tissue.
    smooth = scipy.ndimage.uniform_filter(saturation, 3)
    threshold = FIXED_THRESHOLD
    if rule == "otsu":
        threshold = np.clip(otsu(smooth[~pen]), OTSU_FLOOR, OTSU_CEILING)
    tissue = (smooth > threshold) & ~pen
    reach = max(1, round(CLOSE_UM / mpp))
    # Padded, because closing shrinks back from the edge of the picture.
    tissue = np.pad(tissue, reach)
    tissue = scipy.ndimage.binary_closing(tissue, CROSS, iterations=reach)
    tissue = tissue[reach:-reach, reach:-reach] & ~pen
    tissue = drop_small(tissue, SPECK_UM2 / mpp**2)
    return (tissue | small_holes(tissue, HOLE_UM2 / mpp**2)) & ~pen


def find_pen(
    hue: UInt8[np.ndarray, "h w"],
    saturation: UInt8[np.ndarray, "h w"],
    value: UInt8[np.ndarray, "h w"],
    mpp: float,
) -> Bool[np.ndarray, "h w"]:
    """Mask of green, blue and black ink with its halo; hue of 256 as Pillow has it."""
    low, high = (round(degrees * 256 / 360) for degrees in INK_HUES)
    ink = (hue >= low) & (hue <= high) & (saturation >= INK_SATURATION)
    ink |= value < INK_BLACK
    strokes = drop_small(ink, STROKE_UM2 / mpp**2)
    if not strokes.any():
        return strokes
    reach = max(1, round(HALO_UM / mpp))
    return scipy.ndimage.binary_dilation(strokes, CROSS, iterations=reach)


def drop_small(mask: Bool[np.ndarray, "h w"], area: float) -> Bool[np.ndarray, "h w"]:
    """The mask less its connected pieces of under `area` pixels."""
    labels, count = scipy.ndimage.label(mask)
    if not count:
        return mask
    keep = np.bincount(labels.ravel()) >= area
    keep[0] = False
    return keep[labels]


def small_holes(mask: Bool[np.ndarray, "h w"], area: float) -> Bool[np.ndarray, "h w"]:
    """What the mask encloses in pieces of under `area` pixels.

    What reaches the picture's edge is not enclosed: a small picture of glass is no hole.
    """
    labels, _ = scipy.ndimage.label(~mask)
    small = np.bincount(labels.ravel()) < area
    small[0] = False
    for edge in (labels[0], labels[-1], labels[:, 0], labels[:, -1]):
        small[edge] = False
    return small[labels]


def otsu(values: UInt8[np.ndarray, "n"]) -> float:
    """The threshold that separates two classes best; above it is the upper one.

    Otsu 1979, doi:10.1109/TSMC.1979.4310076: the largest variance between classes. 0.0
    for no values.
    """
    counts = np.bincount(values, minlength=256).astype(np.float64)
    total = counts.sum()
    if not total:
        return 0.0
    weight: Float[np.ndarray, "256"] = np.cumsum(counts) / total
    mean: Float[np.ndarray, "256"] = np.cumsum(counts * np.arange(256)) / total
    between = np.zeros(256)
    split = (weight > 0) & (weight < 1)
    part = weight[split]
    between[split] = (mean[-1] * part - mean[split]) ** 2 / (part * (1 - part))
    return float(np.argmax(between))
