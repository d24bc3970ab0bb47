"""What the logged numbers of a contrastive step say is wrong, and what to try.

Nothing here computes a metric or warns: the trainer does that, once of each name.
"""

import math
from collections.abc import Mapping, Sequence

from pathjax.models.towers import MAX_LOG_SCALE

# A loss this near to a uniform guess's, a temperature this near to its bound, and
# embeddings that vary in so few dimensions or by so little.
GUESSING = 0.98
COLDEST = 1.001 * math.exp(-MAX_LOG_SCALE)
COLLAPSED_RANK = 1.5
COLLAPSED_UNIFORMITY = -0.05


def of_contrast(
    means: Mapping[str, float], suffixes: Mapping[tuple[str, str], str]
) -> dict[str, str]:
    """A loss that learns nothing, and a temperature at its bound.

    Args:
      means: Metrics by name.
      suffixes: Pair of modalities -> the end of its metrics' names.
    """
    concerns = {}
    for pair, suffix in suffixes.items():
        name, relative = " and ".join(pair), means.get(f"loss_to_guess{suffix}", 0)
        if relative > GUESSING:
            concerns[f"guess{suffix}"] = (
                f"the contrastive loss of {name} is {relative:.0%} of that of a uniform "
                "guess, ln(candidates): nothing is learnt. Raise optim.lr, data.batch or "
                "objective.queue, and check that tiles and expression are of the same "
                "samples"
            )
        temperature = means.get(f"temperature{suffix}", 1)
        if temperature < COLDEST:
            concerns[f"temperature{suffix}"] = (
                f"the temperature of {name} is at its bound, {temperature:.3g}: the "
                "batches may be memorised. Raise objective.dropout or gene_dropout, set "
                "objective.label_smoothing, or take fewer steps"
            )
    return concerns


def of_spread(
    means: Mapping[str, float], modalities: Sequence[str], embed_dim: int
) -> dict[str, str]:
    """Embeddings that collapse, in rank or to one point."""
    concerns = {}
    for name in modalities:
        rank = means.get(f"rank_{name}", embed_dim)
        uniformity = means.get(f"uniformity_{name}", -math.inf)
        if rank < min(COLLAPSED_RANK, embed_dim) or uniformity > COLLAPSED_UNIFORMITY:
            concerns[f"collapse_{name}"] = (
                f"the embeddings of {name} collapse: effective rank {rank:.1f} of "
                f"{embed_dim}, uniformity {uniformity:.2f} (0 is one point). Lower "
                "optim.lr (or objective.soft_targets, if it is set), lengthen "
                "optim.warmup, or raise data.batch"
            )
    return concerns
