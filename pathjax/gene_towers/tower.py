"""The base class of gene towers: what a tower reads, needs and builds.

A tower is the expression side of an objective that compares images with expression. It
holds options and builds a Linen module; it knows no objective and takes no step.
"""

import dataclasses
from collections.abc import Sequence
from typing import Any, ClassVar

import jax.numpy as jnp
from jaxtyping import Array, Bool

from pathjax.data.expression import GenePanel
from pathjax.data.study import Study
from pathjax.data.vectors import Vectors

Resources = dict[str, Any]  # plain data


class TowerError(ValueError):
    """A gene tower or option that does not exist, or a file that does not fit."""


@dataclasses.dataclass(frozen=True)
class SharedOptions:
    """Options of the objective that towers share; each uses those that it names.

    Attributes:
      widths: Hidden widths.
      dropout: Of hidden units.
      gene_dropout: Of input genes.
    """

    widths: Sequence[int]
    dropout: float = 0.0
    gene_dropout: float = 0.0


@dataclasses.dataclass(frozen=True)
class GeneTower:
    """Base class of gene towers. Docs: docs/extend/tower.md.

    A subclass is a frozen dataclass. Its fields are the options that users set by
    `--config.objective.expression_tower.FIELD=VALUE`, so each needs a default.

    Attributes:
      reads: Keys of the batch that it embeds: "expression", or "vectors".
      uses: Names of the `SharedOptions` that it uses; of others that are set, the run
        says that they are not.
    """

    reads: ClassVar[tuple[str, ...]] = ("expression",)
    uses: ClassVar[tuple[str, ...]] = ("widths", "dropout", "gene_dropout")

    @classmethod
    def option_names(cls) -> tuple[str, ...]:
        """Names of the options."""
        return tuple(field.name for field in dataclasses.fields(cls))

    @property
    def frozen(self) -> bool:
        """Whether the module's parameters stay as they start."""
        return False

    def problems(self) -> list[str]:
        """All invalid options, a phrase each. Reads no file."""
        return []

    def read(self, study: Study, train: Sequence[str], panel: GenePanel) -> Resources:
        """What the module is built from and files hold, as plain JSON data.

        Called once, before the first step; kept with checkpoints and in the model file,
        so that prediction needs none of these files.

        Args:
          study: Of the run.
          train: The training samples with expression; others must not be looked at.
          panel: Genes, in the order of `expression`.

        Raises:
          TowerError, StudyError: A file does not fit.
        """
        del study, train, panel
        return {}

    def module(self, resources: Resources, shared: SharedOptions) -> Any:
        """The Linen module, called as `module(*inputs, train=...)`, to `[B, D]`.

        Every row from its own row alone; randomness from the stream "dropout".
        """
        raise NotImplementedError(
            f"gene tower {type(self).__name__} has no method module(resources, shared): "
            "write one, see docs/extend/tower.md"
        )

    def inputs(
        self, resources: Resources, batch: dict[str, Array], known: Bool[Array, "B g"]
    ) -> tuple[Array, ...]:
        """What the module is called with.

        Args:
          resources: From `read`.
          batch: With `expression [B, G]`, z-scored, and what else `reads` names.
          known: `[B, G]`, or `[B, 1]` where it is the same for all genes: false for
            padding, samples without expression and genes that were not measured. Values
            there may be NaN, and have to be replaced.
        """
        del resources
        return (jnp.where(known, batch["expression"], 0),)

    def sample_vectors(self, resources: Resources) -> Vectors | None:
        """A vector per sample, where `reads` has "vectors": the batch's `vectors [B, X]`.

        `resources["dimensions"]` is X.
        """
        del resources
        return None

    def start(self, resources: Resources) -> dict[str, Any]:
        """Parameters of the module to start from; {} for fresh ones."""
        del resources
        return {}
