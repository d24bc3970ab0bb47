"""Square blocks of a section, the units of intervals where neighbours are alike.

    samples' pixel_x, pixel_y, source_mpp, slide -> block_ids -> one name per row

Neighbouring spots share tissue and have correlated errors, so that intervals over
single spots are too short. Blocks of about the range of that correlation are nearly
independent (Kuensch 1989, Annals of Statistics 17:1217, for series). It computes no
interval.
"""

import numpy as np
from jaxtyping import Shaped

from pathjax.evals import EvalError
from pathjax.evals.probes.base import FoldRows

POSITION = ("pixel_x", "pixel_y", "source_mpp")  # pixels of the image, um per pixel


def missing_columns(study) -> list[str]:
    """Columns of a study's samples that blocks need and that it lacks."""
    return [name for name in POSITION if name not in study.samples]


def block_ids(study, rows: FoldRows, side_um: float) -> Shaped[np.ndarray, "n"]:
    """The block of each row, `SLIDE COLUMN,ROW`, on a grid from the image's corner.

    Args:
      study: Whose samples have the columns POSITION.
      rows: Samples, not tiles.
      side_um: Side of a block in micrometres.

    Raises:
      EvalError: A position is missing.
    """
    table = study.samples.iloc[rows.index]
    x, y, mpp = (table[name].to_numpy(np.float64) for name in POSITION)
    places = np.floor(np.stack([x, y]) * mpp / side_um)
    bad = np.flatnonzero(~np.isfinite(places).all(axis=0))
    if bad.size:
        raise EvalError(
            f"blocks_um: {bad.size} of {len(rows)} samples have no position, first "
            f"{rows.unit[bad[0]]}: fill in {', '.join(POSITION)} or leave out blocks_um"
        )
    columns, lines = places.astype(np.int64)
    names = zip(rows.slide, columns, lines, strict=True)
    return np.array([f"{slide} {column},{line}" for slide, column, line in names])
