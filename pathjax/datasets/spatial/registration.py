"""Do the spots lie where they should in the image, or would they if it were turned?

Spots under tissue lie on tissue, and where tissue is dense or dark they have more
counts. Both are measured as stated, and with the positions mirrored, turned, swapped
and shifted. Real sections (her2st's, mouse olfactory bulb, a CytAssist slide) score
0.26 or more above their mirrored and turned versions, and random counts on real tissue
at most 0.13 below one: hence the margin. It is no registration: it corrects nothing.
"""

import dataclasses

import numpy as np
import scipy.ndimage
import scipy.spatial
from jaxtyping import Float

from pathjax.datasets.spatial.survey import Survey

MARGIN = 0.2  # by which an alternative has to score higher
MIN_SPOTS = 50  # fewer say nothing
MOST_SPOTS = 5000  # looked at
AROUND_UM = 50.0  # on each side of a spot: features are means over 100 um
SHIFT_UM = 200.0  # or two spots, whichever is more


@dataclasses.dataclass(frozen=True)
class Placement:
    """How well spots fit an image.

    Attributes:
      on_tissue: Share of the spots on tissue.
      scores: By placement, "as stated" first: share on tissue less the tissue's share
        of the image, plus the share of the variance of log library size that colour and
        texture around a spot explain.
    """

    on_tissue: float
    scores: dict[str, float]

    @property
    def better(self) -> str | None:
        """The alternative that fits clearly better, if there is one."""
        stated = self.scores["as stated"]
        best = max(self.scores, key=self.scores.__getitem__)
        return best if self.scores[best] > stated + MARGIN else None


def place(
    survey: Survey,
    library: Float[np.ndarray, "n"],
    positions: Float[np.ndarray, "n 2"],
    size: tuple[int, int],
    mpp: float,
) -> Placement:
    """Scores the stated placement of spots and its alternatives.

    Args:
      survey: Of the image.
      library: Total counts of each spot.
      positions: x and y in level-0 pixels.
      size: Width and height of the image.
      mpp: Micrometres per pixel.
    """
    if len(positions) > MOST_SPOTS:
        rows = np.linspace(0, len(positions) - 1, MOST_SPOTS).astype(int)
        library, positions = library[rows], positions[rows]
    masks = np.stack([survey.tissue, survey.coloured])
    area = masks.mean(axis=(1, 2))
    features = _features(survey, AROUND_UM / mpp)
    logged = np.log1p(library)
    scores = {}
    on_tissue = 0.0
    shift = _shift(positions, mpp)
    few = len(positions) < MIN_SPOTS
    for name, moved in _alternatives(positions, size, shift).items():
        at = survey.blocks_at(moved)
        inside = at[:, 0] >= 0
        shares = masks[:, at[:, 0], at[:, 1]] & inside
        explained = _explained(features[:, at[:, 0], at[:, 1]].T, logged)
        # By the mask that tells most: texture fails on coarse images, colour on pale.
        scores[name] = float((shares.mean(axis=1) - area).max() + explained)
        if name == "as stated":
            on_tissue = float(shares.mean(axis=1).max())
            if few:
                break
    return Placement(on_tissue, scores)


def _alternatives(
    positions: Float[np.ndarray, "n 2"], size: tuple[int, int], shift: float
) -> dict[str, Float[np.ndarray, "n 2"]]:
    (x, y), (width, height) = positions.T, size
    found = {
        "as stated": (x, y),
        "x and y swapped": (y, x),
        "mirrored left to right": (width - x, y),
        "mirrored top to bottom": (x, height - y),
        "turned by 180 degrees": (width - x, height - y),
        "turned by 90 degrees clockwise": (width - y, x),
        "turned by 90 degrees counter-clockwise": (y, height - x),
        "x and y swapped and turned by 180 degrees": (width - y, height - x),
    }
    for right in (-1, 0, 1):
        for down in (-1, 0, 1):
            if right or down:
                way = f"shifted by {right * shift:.0f}, {down * shift:.0f} px"
                found[way] = (x + right * shift, y + down * shift)
    return {name: np.stack(pair, axis=1) for name, pair in found.items()}


def _shift(positions: Float[np.ndarray, "n 2"], mpp: float) -> float:
    if len(positions) < 2:
        return SHIFT_UM / mpp
    nearest = scipy.spatial.cKDTree(positions).query(positions, k=2)[0][:, 1]
    return max(SHIFT_UM / mpp, 2 * float(np.median(nearest)))


def _features(survey: Survey, reach: float) -> Float[np.ndarray, "4 h w"]:
    """Optical density of each channel, and log contrast, as means around each block."""
    density = -np.log((survey.colour + 1) / 256)
    maps = [*np.moveaxis(density, 2, 0), np.log2(1 + survey.spread)]
    width = 2 * max(1, round(reach / survey.block)) + 1
    return np.stack([scipy.ndimage.uniform_filter(one, width) for one in maps])


def _explained(
    features: Float[np.ndarray, "n 4"], values: Float[np.ndarray, "n"]
) -> float:
    """Share of the variance of `values` that a linear fit on the features explains."""
    centred = values - values.mean()
    total = centred @ centred
    if not total > 0:
        return 0.0
    design = features.astype(np.float64) - features.mean(axis=0, dtype=np.float64)
    fit, *_ = np.linalg.lstsq(design, centred, rcond=None)
    rest = centred - design @ fit
    return float(1 - rest @ rest / total)
