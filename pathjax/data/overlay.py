"""Spots on their slides, coloured by counts or a gene, for a person to look at.

For studies whose samples have places: `pixel_x`, `pixel_y`, and thumbnails/ with the
slides, as `pathjax data spatial` writes them.
"""

import math
from pathlib import Path

import numpy as np
import pandas as pd
from jaxtyping import Float
from PIL import Image

from pathjax.data.study import Study, StudyError
from pathjax.files import atomic_path

MOST = 12  # slides in one picture
INCHES = 5.0  # side of a slide's panel
SMALLEST = 1.5  # radius of a spot in pixels of the thumbnail


def save_overlay(
    study: Study, path: Path, *, gene: str | None = None, slide: str | None = None
) -> Path:
    """Writes a PNG with a panel for each slide; returns its path.

    Args:
      study: Made of spots.
      path: Of the PNG.
      gene: Colours spots by this gene in the study's X; None: by log total counts.
      slide: Draws only this one.

    Raises:
      StudyError: The study has no places or no such gene or slide, or too many slides.
    """
    from matplotlib.collections import EllipseCollection
    from matplotlib.figure import Figure

    slides = _slides(study, slide)
    values, label = _values(study, gene)
    samples = study.samples.assign(value=values)
    columns = math.ceil(math.sqrt(len(slides)))
    rows = math.ceil(len(slides) / columns)
    figure = Figure((columns * INCHES * 1.15, rows * INCHES), layout="constrained")
    panels = figure.subplots(rows, columns, squeeze=False).ravel()
    for panel in panels:
        panel.set_axis_off()
    for panel, (name, about) in zip(panels, slides.items(), strict=False):
        spots = samples[samples["slide_id"] == name]
        scale = about["thumbnail_scale"]
        with Image.open(_thumbnail(study, name)) as image:
            panel.imshow(np.asarray(image.convert("RGB")))
        width = 2 * max(SMALLEST, about["spot_um"] / about["mpp"] * scale / 2)
        drawn = EllipseCollection(
            width,
            width,
            0,
            units="xy",
            offsets=spots[["pixel_x", "pixel_y"]].to_numpy() * scale,
            offset_transform=panel.transData,
            array=spots["value"].to_numpy(),
            cmap="viridis",
            alpha=0.8,
            linewidths=0,
        )
        panel.add_collection(drawn)
        figure.colorbar(drawn, ax=panel, shrink=0.7, label=label)
        panel.set_title(f"{name}: {len(spots)} spots, {about['mpp']:.3g} µm/px")
    with atomic_path(path) as partial:
        figure.savefig(partial, format="png", dpi=110)
    return path


def _slides(study: Study, slide: str | None) -> dict[str, dict]:
    """What the provenance says of the slides to draw."""
    known = study.meta.get("provenance", {}).get("samples", {})
    placed = {"pixel_x", "pixel_y", "slide_id"} <= set(study.samples)
    if not (placed and isinstance(known, dict) and known):
        raise StudyError(
            f"study {study.name} has no spots with places in slides: an overlay needs "
            "a study of `pathjax data spatial`"
        )
    if slide is not None:
        if slide not in known:
            raise StudyError(
                f"study {study.name} has no slide {slide!r}; it has {', '.join(known)}"
            )
        return {slide: known[slide]}
    if len(known) > MOST:
        raise StudyError(
            f"study {study.name} has {len(known)} slides, one picture takes {MOST}: "
            f"name one by --slide, such as {next(iter(known))}"
        )
    return known


def _thumbnail(study: Study, name: str) -> Path:
    path = study.root / "thumbnails" / f"{name}.jpg"
    if not path.is_file():
        raise StudyError(
            f"{path} is missing: copy the folder thumbnails of the study too"
        )
    return path


def _values(study: Study, gene: str | None) -> tuple[Float[np.ndarray, "samples"], str]:
    """A value for each sample, and what it is."""
    if gene is None:
        return np.log10(study.samples["total_counts"].to_numpy() + 1), (
            "log10(total counts + 1)"
        )
    expression = study.expression()
    names = expression.var_names.to_series()
    if gene not in names and "symbol" in expression.var:
        names = expression.var["symbol"]
    rows = np.flatnonzero(names == gene)
    if not len(rows):
        raise StudyError(
            f"study {study.name} has no gene {gene!r}; it has {expression.n_vars} such "
            f"as {', '.join(expression.var_names[:3])}"
        )
    column = expression[:, rows].X.sum(axis=1)
    values = pd.Series(np.asarray(column).ravel(), expression.obs_names)
    scale = expression.uns.get("pathjax", {}).get("x", "X")
    ordered = values.reindex(study.samples["sample_id"]).to_numpy()
    return ordered, f"{gene}, {scale}"
