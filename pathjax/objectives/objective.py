"""The base class of training objectives: pure functions of (params, batch, key, step).

An objective turns a model and a batch into one loss per example. The trainer reduces,
differentiates, updates and stores; an objective knows no optimiser and no config. What
it needs from data and model is declared by class attributes, which the rest of the
package reads instead of the objective's name.

A loss has two parts. `represent` treats every row by itself: encoders and heads, all
that costs memory. `compare` is where rows meet: negatives, correlations, centres. With
that division a batch can pass through `represent` in parts and still be one batch to
`compare` (train/accumulate.py).
"""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Self

import jax
import jax.numpy as jnp
from jax.sharding import Mesh
from jaxtyping import Array, Float, UInt8

from pathjax.data.expression import GenePanel
from pathjax.data.study import Study
from pathjax.data.transforms import Augment, MultiCrop
from pathjax.data.vectors import Vectors
from pathjax.models.vit import ViT, ViTConfig, normalise

Params = dict[str, Any]
Batch = dict[str, jax.Array]
# Values [B], averaged over the batch's mask, or (values, rows) averaged over `rows`.
Metric = jax.Array | tuple[jax.Array, jax.Array]
# Losses [B], metrics by name, and the input of update_extra.
Losses = tuple[jax.Array, dict[str, Metric], Any]


class ObjectiveError(ValueError):
    """An objective or option that does not exist, or a need that is not met."""


@dataclasses.dataclass(frozen=True)
class Spec:
    """What a run gives its objective.

    Attributes:
      vit: Configuration of the encoder.
      n_genes: G, length of the gene panel; 0 without expression.
      text_dim: T, width of the text embeddings; 0 without text.
      steps: Training steps of the run, for schedules; 0 if unknown.
      cached: Batches hold `embedding [B, K, E]`, computed once by a frozen encoder, in
        place of `image`; the encoder is then not among the parameters.
      partial: Batches hold `measured [B, G]`, because samples were measured for
        different genes of the panel.
      gene_variance: `[G]` variance of each gene's log-normalised expression among the
        training samples, before z-scoring; () if unknown.
      resources: What the objective's `read` returned.
    """

    vit: ViTConfig
    n_genes: int = 0
    text_dim: int = 0
    steps: int = 0
    cached: bool = False
    partial: bool = False
    gene_variance: tuple[float, ...] = ()
    resources: dict[str, Any] = dataclasses.field(default_factory=dict, hash=False)


@dataclasses.dataclass(frozen=True)
class Objective:
    """Base class of objectives. Docs: docs/extend/objective.md.

    A subclass is a frozen dataclass. Its fields are the options that users set by
    `--config.objective.FIELD=VALUE`, so each needs a default. It declares its needs by
    the class attributes below, or by properties where a need depends on an option, and
    implements `init`, `represent` and `compare`. Every method is pure and jittable.

    Attributes:
      needs_genes: Batches must hold `expression [B, G]`, z-scored by the gene panel.
      needs_counts: Batches hold raw `counts [B, G]` and `library [B]`.
      needs_vectors: Batches hold `vectors [B, X]`, from `sample_vectors`.
      needs_negatives: Batches hold `pair_id [B]`, and the training fold must have at
        least two distinct ones.
      min_rows: Rows that a batch needs for its loss to depend on the model: 2 where rows
        are compared with each other.
      unit: "sample" or "tile", the only `data.unit` that is accepted; "" for any.
      views: How training views are made: Augment (`image`, one view per tile),
        MultiCrop (`crops_global` and `crops_local`), or None: it reads no image, and its
        model has no image encoder.
      supports_validation: The loss can be computed on held-out samples.
      supports_text: Reads `text [B, T]`, with rows that may lack text or expression.
      supports_unmeasured: Ignores expression and counts where `measured [B, G]` is false:
        no value there changes the loss.
      supports_embeddings: Can train on cached embeddings (adapt.mode=towers).
      predicts_expression: `predict` returns `expression [B, G]`.
      expression_scale: Scale of that prediction: "z_score" of the gene panel, or
        "log_counts", log1p of the expected counts per 10,000.
      shares_space: `predict` returns `z_image` and `z_expression`, of unit length and in
        one space, for retrieval.
      spec: Set by `setup`.
    """

    needs_genes: ClassVar[bool] = False
    needs_counts: ClassVar[bool] = False
    needs_vectors: ClassVar[bool] = False
    needs_negatives: ClassVar[bool] = False
    min_rows: ClassVar[int] = 1
    unit: ClassVar[str] = ""
    views: ClassVar[type[Augment] | type[MultiCrop] | None] = Augment
    supports_validation: ClassVar[bool] = True
    supports_text: ClassVar[bool] = False
    supports_unmeasured: ClassVar[bool] = False
    supports_embeddings: ClassVar[bool] = True
    predicts_expression: ClassVar[bool] = False
    expression_scale: ClassVar[str] = "z_score"
    shares_space: ClassVar[bool] = False

    spec: Spec = dataclasses.field(default=None, kw_only=True, repr=False)  # type: ignore[assignment]

    @classmethod
    def option_names(cls) -> tuple[str, ...]:
        """Names of the options: all fields but `spec`."""
        return tuple(f.name for f in dataclasses.fields(cls) if f.name != "spec")

    def problems(self, batch: int) -> list[str]:
        """All invalid options, a phrase each. Add yours to `super().problems(batch)`.

        Args:
          batch: Rows of a global batch; 0 if unknown.
        """
        del batch
        return []

    def setup(self, spec: Spec) -> Self:
        """Returns a copy for one run, with `spec` set.

        Raises:
          ObjectiveError: An option is wrong or a need is not met.
        """
        name, problems = type(self).__name__, self.problems(0)
        if (self.needs_genes or self.needs_counts) and not spec.n_genes:
            problems.append(
                "it needs gene expression: set data.genes or data.gene_list"
            )
        if spec.text_dim and not self.supports_text:
            problems.append("it does not read text: leave data.text empty")
        if spec.partial and not self.supports_unmeasured:
            problems.append(
                "it takes every gene of the panel as measured, and in this study some "
                "were not: set data.gene_list to genes that were, or build the study "
                "with --genes-join inner"
            )
        if spec.cached and not self.supports_embeddings and self.views:
            problems.append(
                "it trains the encoder itself and cannot learn from cached embeddings: "
                "set adapt.mode to full, last or lora"
            )
        if problems:
            raise ObjectiveError(f"objective {name}: " + "; ".join(problems))
        return dataclasses.replace(self, spec=spec)

    @property
    def frozen(self) -> tuple[str, ...]:
        """Patterns of parameters that are not trained, as in `optim.freeze`."""
        return ()

    def read(
        self, study: Study, train: Sequence[str], panel: GenePanel | None
    ) -> dict[str, Any]:
        """What files that the options name hold, as plain JSON data; once per run.

        It is `spec.resources` from then on, and kept with checkpoints and the model.

        Args:
          study: Of the run.
          train: Ids of the training samples.
          panel: The genes, or None.
        """
        del study, train, panel
        return {}

    @property
    def has_resources(self) -> bool:
        """Whether `read` has to be called before `setup`."""
        return False

    def sample_vectors(self, study: Study) -> Vectors | None:
        """The vectors of a study's samples, where `needs_vectors`."""
        del study
        return None

    def start(self) -> Params:
        """Parameters to start from, by name, in place of fresh ones; {} for none."""
        return {}

    @property
    def requires(self) -> tuple[str, ...]:
        """Keys that a batch must have, derived from the needs."""
        keys = ["mask"]
        if self.views is MultiCrop:
            keys += ["crops_global", "crops_local"]
        elif self.views is Augment:
            keys.append("embedding" if self.spec.cached else "image")
        if self.needs_counts:
            keys += ["counts", "library"]
        if self.needs_genes:
            keys.append("expression")
        if self.spec.partial and (self.needs_counts or self.needs_genes):
            keys.append("measured")
        if self.needs_vectors:
            keys.append("vectors")
        if self.needs_negatives:
            keys.append("pair_id")
        if self.spec.text_dim:
            keys += ["text", "has_expression", "has_text"]
        return tuple(keys)

    def init(self, key: jax.Array, batch: Batch) -> tuple[Params, Any]:
        """Initial (params, extra); reads only the shapes of `batch`.

        `params` holds the encoder under "vit". `extra` is state without gradients, or {}.
        """
        raise NotImplementedError

    def represent(
        self,
        params: Params,
        extra: Any,
        batch: Batch,
        key: jax.Array,
        step: Any,
        train: bool,
    ) -> Batch:
        """Arrays `[B, ...]` by name, each row computed from its own row of `batch`.

        `key` is the run's base key: fold in the step, as `rng.stream(key, name, step)`.
        """
        raise NotImplementedError

    def compare(
        self,
        params: Params,
        extra: Any,
        rows: Batch,
        batch: Batch,
        step: Any,
        mesh: Mesh | None = None,
    ) -> Losses:
        """Losses from all representations of a batch: (values, metrics, aux).

        `values` and every metric are `[B]` float32, 0 in padding rows. A metric may be a
        pair (values, rows) to be averaged over its own `rows`. `mesh` is what the rows
        are divided over; None on one device.
        """
        raise NotImplementedError

    def update_extra(self, extra: Any, params: Params, aux: Any, step: Any) -> Any:
        """The extra state after the parameter update at `step`."""
        del params, aux, step
        return extra

    def reset_extra(self, params: Params, extra: Any) -> Any:
        """The extra state after parameters were replaced, as by a pretrained encoder."""
        del params
        return extra

    def export(self, params: Params, extra: Any) -> Params:
        """Parameters for the model file; the encoder is "vit"."""
        del extra
        return params

    def predict(self, params: Params, batch: Batch) -> Batch:
        """Outputs for new samples by name; {} if there are none."""
        del params, batch
        return {}

    def concerns(self, means: Mapping[str, float]) -> dict[str, str]:
        """What the logged means of a training step say is wrong, with what to try.

        The trainer asks after the warm-up, and warns once of each name that stays.

        Args:
          means: The metrics of `compare` by name.

        Returns:
          A name for each concern -> one or two sentences; {} if there is none.
        """
        del means
        return {}

    def encode(
        self, params: Params, image: UInt8[Array, "N H W 3"]
    ) -> Float[Array, "N E"]:
        """Pooled float32 embeddings of tiles by the encoder alone."""
        return encode(self.spec.vit, params["vit"], image)

    # Building blocks for subclasses.

    def init_encoder(self, key: jax.Array) -> Params:
        """`{"vit": ...}`, freshly initialised; {} on cached embeddings."""
        return {} if self.spec.cached else {"vit": init_vit(self.spec.vit, key)}

    def tiles_like(self, batch: Batch) -> Float[Array, "1 K E"]:
        """Zeros in the shape of one sample's embeddings, to initialise heads with."""
        tiles = batch["embedding" if self.spec.cached else "image"].shape[1]
        return jnp.zeros((1, tiles, self.spec.vit.embed_dim), jnp.float32)

    def pool_tiles(
        self, params: Params, batch: Batch, *, train: bool, key: jax.Array
    ) -> Float[Array, "B K E"]:
        """Pooled embeddings of the K tiles of each sample.

        Args:
          params: Of the objective, with the encoder under "vit".
          batch: With `image [B, K, H, W, 3]` uint8, or `embedding [B, K, E]`.
          train: Apply stochastic depth, sampled with `key`.
        """
        if "embedding" in batch:
            return batch["embedding"]
        vit, image = self.spec.vit, batch["image"]
        flat = image.reshape(-1, *image.shape[2:])
        pixels = normalise(flat, vit.mean, vit.std, vit.dtype)
        out: Any = ViT(vit).apply(
            {"params": params["vit"]}, pixels, train=train, rngs={"dropout": key}
        )
        return out.pooled.reshape(*image.shape[:2], -1)


def extended(objective: Objective, by: type[Objective], **attributes: Any) -> Objective:
    """An objective after `setup` as a subclass of its own class that `by` adds to.

    Args:
      objective: Its options and `spec` are kept, so it declares and predicts the same.
      by: Comes before its class; its methods call `super()`.
      attributes: Further ones of the result.
    """
    kind = type(by.__name__ + type(objective).__name__, (by, type(objective)), {})
    made: Any = object.__new__(kind)
    for name, value in (vars(objective) | attributes).items():
        object.__setattr__(made, name, value)
    return made


def counted(metric: Metric, mask: jax.Array) -> tuple[jax.Array, jax.Array]:
    """A metric's values and the rows to average them over."""
    return metric if isinstance(metric, tuple) else (metric, mask)


def unpadded(batch: Batch, name: str) -> jax.Array:
    """`batch[name]` with 0 in padding rows and for genes that were not measured.

    These may hold NaN, and 0 * NaN is NaN.
    """
    values, mask = batch[name], batch["mask"]
    mask = mask.reshape(-1, *(1,) * (values.ndim - 1))
    if name in ("expression", "counts") and "measured" in batch:
        mask = mask & batch["measured"]
    return jnp.where(mask, values, 0)


def encode(
    config: ViTConfig, params: Params, image: UInt8[Array, "N H W 3"]
) -> Float[Array, "N E"]:
    """Pooled float32 embeddings of uint8 tiles by the encoder parameters `params`."""
    pixels = normalise(image, config.mean, config.std, config.dtype)
    out: Any = ViT(config).apply({"params": params}, pixels)
    return out.pooled.astype(jnp.float32)


def init_vit(config: ViTConfig, key: jax.Array) -> Params:
    """Fresh parameters of the encoder."""
    # Parameter shapes do not depend on the image size; the smallest traces fastest.
    pixels = jnp.zeros((1, config.patch, config.patch, 3), jnp.float32)
    return ViT(config).init(key, pixels)["params"]
