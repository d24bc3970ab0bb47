"""Whether a sample's spots can be where they are said to be in its image."""

import dataclasses

import numpy as np

from pathjax.datasets.spatial.options import SpatialOptions
from pathjax.datasets.spatial.registration import place
from pathjax.datasets.spatial.sample import SpatialError, SpatialSample
from pathjax.datasets.spatial.scale import GIVEN, agreed_mpp
from pathjax.datasets.spatial.survey import Survey, survey
from pathjax.datasets.spatial.tables import UPSAMPLED_FROM

MAX_OUTSIDE = 0.02  # share of spots: bins under tissue may pass the image's edge
MIN_ON_TISSUE = 0.5
LOOK = "Look at it: pathjax data show STUDY --overlay FILE.png"


def checked(
    sample: SpatialSample, options: SpatialOptions
) -> tuple[SpatialSample, float, Survey]:
    """The sample with warnings as notes, its micrometres per pixel, and its survey.

    Spots outside the image are left out.

    Raises:
      SpatialError: Evidence of the scale disagrees, or many spots are outside.
    """
    evidence = dict(sample.mpp)
    if not evidence.keys() & GIVEN and sample.image.mpp is not None:
        evidence["image tags"] = sample.image.mpp
    mpp = agreed_mpp(sample.name, evidence)
    sample = _inside(dataclasses.replace(sample, mpp=evidence))
    surveyed = survey(sample.image, mpp)
    notes = list(sample.notes)
    if sample.image.note:
        notes.append(f"{sample.image.note} is used: {mpp:.4g} um/px")
    enlargement = options.tile_px * mpp / options.tile_um
    if enlargement > UPSAMPLED_FROM:
        notes.append(
            f"tiles are enlarged {enlargement:.1f} times: the image has {mpp:.4g} "
            f"um/px, the tiles {options.tile_um / options.tile_px:.4g}"
        )
    notes += _placed(sample, surveyed, mpp)
    return dataclasses.replace(sample, notes=tuple(notes)), mpp, surveyed


def _placed(sample: SpatialSample, surveyed: Survey, mpp: float) -> list[str]:
    """Warnings about where the spots lie in the image."""
    library = np.asarray(sample.counts.X.sum(axis=1), np.float64).ravel()
    placement = place(surveyed, library, sample.positions, sample.image.size, mpp)
    notes = []
    if placement.on_tissue < MIN_ON_TISSUE:
        notes.append(
            f"{placement.on_tissue:.0%} of the spots are on what looks like tissue: "
            f"is it the image of this sample? {LOOK}"
        )
    if placement.better:
        notes.append(
            f"the spots fit the image better {placement.better} (score "
            f"{placement.scores[placement.better]:.2f}, as stated "
            f"{placement.scores['as stated']:.2f}): x and y may be swapped, or the "
            f"image mirrored, turned or cropped. {LOOK}"
        )
    return notes


def _inside(sample: SpatialSample) -> SpatialSample:
    """The sample without the spots that are outside its image."""
    size = np.array(sample.image.size)
    positions = sample.positions
    outside = ((positions < 0) | (positions > size)).any(axis=1)
    if not outside.any():
        return sample
    share = outside.mean()
    if share > MAX_OUTSIDE:
        causes = ["a reduced or cropped image was given as the full-resolution one"]
        swapped = ((positions[:, ::-1] < 0) | (positions[:, ::-1] > size)).any(axis=1)
        if swapped.mean() < share / 2:
            causes.insert(0, "x and y are swapped (with them exchanged they fit)")
        low, high = positions.min(axis=0), positions.max(axis=0)
        raise SpatialError(
            f"sample {sample.name}: {outside.sum()} of {len(outside)} spots are outside "
            f"the image of {size[0]} x {size[1]} px: x from {low[0]:.0f} to "
            f"{high[0]:.0f}, y from {low[1]:.0f} to {high[1]:.0f}. Probably "
            + ", or ".join(causes)
        )
    what = (f"{outside.sum()} spots", "outside the image")
    return dataclasses.replace(sample.keep(~outside), left_out=(*sample.left_out, what))
