"""Tissue mask of an overview: saturation, Otsu's threshold, minus pen, closed areas.

Stained tissue is coloured, glass is not. Nothing is learned, and the thumbnail of a
slide shows the result. Focus, folds and air bubbles are not judged.
"""

import numpy as np
import scipy.ndimage
from jaxtyping import Bool, Float, UInt8
from PIL import Image

RULES = ("otsu", "saturation")
# Otsu's threshold is clipped to these (of 255). Glass is below the floor: JPEG and the
# lamp's tint leave 3 to 10, so that a slide of only glass has no tissue. Without the
# ceiling a region that is all tissue would be halved into pale and dark.
OTSU_FLOOR, OTSU_CEILING = 15, 40
FIXED_THRESHOLD = 20  # eva's rule: saturation > 20 of 255

# Ink is recognised by hue: both dyes of H&E absorb green most, so tissue's hue is from
# blue violet (240 degrees, red equals green) over purple and pink to red; green, cyan
# and blue ink absorb red most. Black ink is darker than nuclei at this magnification.
INK_HUES = (70.0, 235.0)  # degrees
INK_SATURATION = 90  # of 255: strokes, not their faint halo
INK_BLACK = 60  # brightest channel of black ink
STROKE_UM2 = 150.0**2  # smaller dark or blue spots are pigment or nuclei
HALO_UM = 40.0  # tinted around a stroke's edge

CLOSE_UM = 16.0  # gaps closed: loose stroma
HOLE_UM2 = 300.0**2  # smaller holes are filled: lumina, fat, tears
SPECK_UM2 = 120.0**2  # smaller pieces are dust
CROSS = scipy.ndimage.generate_binary_structure(2, 1)


def find_tissue(
    pixels: UInt8[np.ndarray, "h w 3"], mpp: float, rule: str = "otsu"
) -> Bool[np.ndarray, "h w"]:
    """Mask of tissue.

    Args:
      pixels: The overview, RGB.
      mpp: Micrometres per pixel of it.
      rule: "otsu", or "saturation" for eva's fixed threshold.
    """
    if rule not in RULES:
        raise ValueError(f"rule: expected {' or '.join(RULES)}, got {rule!r}")
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
    # Padded, because closing shrinks back from the image's edge.
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
    """Mask of green, blue and black ink with its halo; hue as Pillow's, 0 to 255."""
    low, high = (round(degrees * 256 / 360) for degrees in INK_HUES)
    ink = (hue >= low) & (hue <= high) & (saturation >= INK_SATURATION)
    ink |= value < INK_BLACK
    strokes = drop_small(ink, STROKE_UM2 / mpp**2)
    if not strokes.any():
        return strokes
    reach = max(1, round(HALO_UM / mpp))
    return scipy.ndimage.binary_dilation(strokes, CROSS, iterations=reach)


def drop_small(mask: Bool[np.ndarray, "h w"], area: float) -> Bool[np.ndarray, "h w"]:
    """The mask without connected pieces of under `area` pixels."""
    labels, count = scipy.ndimage.label(mask)
    if not count:
        return mask
    keep = np.bincount(labels.ravel()) >= area
    keep[0] = False
    return keep[labels]


def small_holes(mask: Bool[np.ndarray, "h w"], area: float) -> Bool[np.ndarray, "h w"]:
    """Mask of the holes of under `area` pixels.

    What reaches the image's edge is not a hole: an image of glass only has none.
    """
    labels, _ = scipy.ndimage.label(~mask)
    small = np.bincount(labels.ravel()) < area
    small[0] = False
    for edge in (labels[0], labels[-1], labels[:, 0], labels[:, -1]):
        small[edge] = False
    return small[labels]


def otsu(values: UInt8[np.ndarray, "n"]) -> float:
    """The threshold of the largest variance between classes; 0.0 for no values.

    Otsu 1979, doi:10.1109/TSMC.1979.4310076. Values above it are the upper class.
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
