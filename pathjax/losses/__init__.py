"""Losses: one float32 value per example.

The caller reduces, once, with the batch's mask. Losses in which rows meet (contrastive,
Pearson) take the mask themselves: a masked row is neither a negative nor part of a
statistic, and its value is 0. What masked rows hold, NaN included, reaches neither a
value nor a gradient. Nothing here knows models, meshes or configs.
"""

from pathjax.losses.contrastive import (
    HARD,
    ChunkError,
    Rows,
    Targets,
    averaged_similarity,
    by_chunks,
    candidates,
    emptied,
    info_nce,
    info_nce_one_way,
    require_chunk,
    sigmoid_loss,
    sigmoid_one_way,
)
from pathjax.losses.dino import dino_loss
from pathjax.losses.features import feature_distance
from pathjax.losses.regression import (
    huber,
    mse,
    negative_binomial_nll,
    pearson_loss,
)
from pathjax.losses.shapes import check_arrays, check_regression, check_rows

__all__ = [
    "HARD",
    "ChunkError",
    "Rows",
    "Targets",
    "averaged_similarity",
    "by_chunks",
    "candidates",
    "check_arrays",
    "check_regression",
    "check_rows",
    "dino_loss",
    "emptied",
    "feature_distance",
    "huber",
    "info_nce",
    "info_nce_one_way",
    "mse",
    "negative_binomial_nll",
    "pearson_loss",
    "require_chunk",
    "sigmoid_loss",
    "sigmoid_one_way",
]
