"""The typed configuration of a run: what all code below the command line receives.

`config.py` makes a `RunConfig` from what users write, once. Every section checks itself
(`problems`) and builds its part. The defaults are defined here and nowhere else.
Nothing here reads data or touches a device.
"""

import dataclasses
import math
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Self

import jax
from jax.sharding import Mesh

from pathjax import objectives
from pathjax.data.transforms import Augment, MultiCrop
from pathjax.models.adaptation import Adaptation
from pathjax.models.model_file import Model
from pathjax.models.variants import ViTConfig, nearest_multiples, vit_config
from pathjax.objectives import Objective
from pathjax.parallel.mesh import make_mesh, require_divisible
from pathjax.registry import did_you_mean


class ConfigError(ValueError):
    """A config that cannot be run; the message lists all reasons."""


def refuse(problems: Sequence[str]) -> None:
    """Raises one ConfigError with all problems, if there are any."""
    if problems:
        raise ConfigError("the config cannot be run:\n  - " + "\n  - ".join(problems))


@dataclasses.dataclass(frozen=True)
class DataConfig:
    """Batches and augmentation.

    Attributes:
      batch: Samples per step, over all devices.
      tiles: K tiles per sample.
      image_px: Side of the training views.
      unit: "sample", or "tile" to make each tile a sample (self-supervision).
      pair_by: Samples that share this are not each other's negatives.
      genes: The most variable genes on the training fold; 0 without expression.
      gene_list: File of gene names, one a line, in place of `genes`.
      text: File of `pathjax text embed`: report text as a third modality.
      drop_unpaired: Leave out samples without expression.
      flip: Mirror images.
      turn: Quarter turns, with `flip`.
      stain: Jitter of the stain concentrations.
      min_scale: Smallest area of the random crop, relative to the tile.
      threads: Reading threads.
      buffer: Batches read ahead.
    """

    batch: int = 64
    tiles: int = 1
    image_px: int = 64
    unit: str = "sample"
    pair_by: str = "patient_id"
    genes: int = 0
    gene_list: str = ""
    text: str = ""
    drop_unpaired: bool = False
    flip: bool = True
    turn: bool = True
    stain: float = 0.05
    min_scale: float = 1.0
    threads: int = 2
    buffer: int = 4

    def problems(self) -> list[str]:
        found = []
        if self.unit not in ("sample", "tile"):
            found.append(f"data.unit={self.unit!r}: expected sample or tile")
        if self.pair_by not in ("patient_id", "sample_id"):
            found.append(
                f"data.pair_by={self.pair_by!r}: expected patient_id or sample_id"
            )
        if self.min_scale > 1:
            found.append(f"data.min_scale={self.min_scale}: expected 0 to 1")
        return found

    def augment(self) -> Augment:
        """Augmentation of single views."""
        return Augment(self.flip, self.turn, self.stain, self.min_scale)

    def panel_genes(self) -> int | list[str]:
        """The number of genes to choose, or the names in `gene_list`."""
        if not self.gene_list:
            return self.genes
        lines = Path(self.gene_list).read_text(encoding="utf-8").splitlines()
        return [line.strip() for line in lines if line.strip()]


@dataclasses.dataclass(frozen=True)
class ModelConfig:
    """The encoder.

    Attributes:
      variant: A row of models.variants.VARIANTS; "" takes the encoder of `init`.
      options: Fields of ViTConfig that differ from it.
    """

    variant: str = "Mi/8"
    options: Mapping[str, Any] = dataclasses.field(default_factory=dict)

    def get(self, field: str, default: Any = None) -> Any:
        """The value of an option, if it is set."""
        return self.options.get(field, default)

    def build(self, init: Model | None, image_px: int, lora: Any) -> ViTConfig:
        """The encoder to train: a variant, or that of `init`, with the options.

        Raises:
          ConfigError: Unknown options, or images that do not divide into patches.
          ValueError: An unknown variant, or a shape that cannot be built.
        """
        if self.variant or init is None:
            vit = vit_config(self.variant, **{"image_px": image_px, **self.options})
        else:
            known = [field.name for field in dataclasses.fields(ViTConfig)]
            refuse(
                [
                    f"unknown key 'model.{name}'; {did_you_mean(name, known)}"
                    for name in self.options
                    if name not in known
                ]
            )
            # The position grid stays that of the weights, so that the tuned model can
            # replace its base; other image sizes resize positions in the forward pass.
            vit = init.vit.replace(**self.options)
        if image_px % vit.patch:
            raise ConfigError(
                f"data.image_px={image_px}: expected a multiple of the encoder's patch, "
                f"{vit.patch}, such as {nearest_multiples(image_px, vit.patch)}"
            )
        return vit.replace(lora=lora)


@dataclasses.dataclass(frozen=True)
class ObjectiveConfig:
    """The objective.

    Attributes:
      name: A key of objectives.OBJECTIVES, or `package.module:Class`.
      options: Its options that differ from their defaults.
    """

    name: str = "contrastive"
    options: Mapping[str, Any] = dataclasses.field(default_factory=dict)

    def build(self) -> Objective:
        """The objective, before `setup`.

        Raises:
          RegistryError, ObjectiveError: An unknown objective or option.
        """
        return objectives.make(self.name, self.options)


@dataclasses.dataclass(frozen=True)
class OptimConfig:
    """AdamW with warm-up and a cosine schedule; built by train/optim.py.

    Attributes:
      steps: Training steps.
      lr: Peak learning rate.
      warmup: Steps of linear warm-up.
      end_lr: Fraction of `lr` at the last step.
      weight_decay: Decoupled, on kernels only.
      clip: Largest global gradient norm; 0 is off.
      b2: Decay of the second moment.
      vit_lr: Factor on the learning rate of the encoder.
      layer_decay: Factor on it from each block to the one before.
      accumulate: Parts in which a batch passes through the encoders.
      freeze: Regular expressions over parameter paths that are not trained.
    """

    steps: int = 1000
    lr: float = 1e-3
    warmup: int = 50
    end_lr: float = 0.0
    weight_decay: float = 0.05
    clip: float = 1.0
    b2: float = 0.999
    vit_lr: float = 1.0
    layer_decay: float = 1.0
    accumulate: int = 1
    freeze: tuple[str, ...] = ()

    def problems(self) -> list[str]:
        found = []
        if self.warmup > self.steps:
            found.append(
                f"optim.warmup={self.warmup} is longer than optim.steps={self.steps}"
            )
        if self.b2 >= 1:
            found.append(f"optim.b2={self.b2}: expected 0 <= b2 < 1")
        return found


@dataclasses.dataclass(frozen=True)
class MeshConfig:
    """Devices along each mesh axis; data=-1 takes what fsdp leaves."""

    data: int = -1
    fsdp: int = 1

    def build(self, devices: Sequence[jax.Device] | None = None) -> Mesh:
        """The mesh over `devices`, by default all. Raises MeshError."""
        return make_mesh(self.data, self.fsdp, devices)


@dataclasses.dataclass(frozen=True)
class CheckpointConfig:
    """Steps between checkpoints, and how many of the newest to keep."""

    every: int = 200
    keep: int = 2


@dataclasses.dataclass(frozen=True)
class LogConfig:
    """What a run reports.

    Attributes:
      every: Steps between lines of metrics.jsonl.
      tensorboard: Also write TensorBoard events.
      profile: (steps done when a trace begins, steps to trace); () is off.
      stall_seconds: Time without progress before a warning; 0 is off.
    """

    every: int = 10
    tensorboard: bool = False
    profile: tuple[int, ...] = ()
    stall_seconds: float = 600.0

    def problems(self) -> list[str]:
        span = self.profile
        if not span or (len(span) == 2 and span[0] >= 0 and span[1] >= 1):
            return []
        expected = "(steps done when it begins, steps to trace), such as (20, 5)"
        return [f"log.profile={tuple(span)}: expected {expected}"]


@dataclasses.dataclass(frozen=True)
class EvalConfig:
    """Validation and early stopping.

    Attributes:
      every: Steps between validations; 0 is off.
      metric: What the best model is chosen by.
      mode: "min" or "max" of it.
      patience: Validations without improvement before stopping; 0 never stops.
    """

    every: int = 0
    metric: str = "val/loss"
    mode: str = "min"
    patience: int = 0

    def problems(self) -> list[str]:
        if self.mode in ("min", "max"):
            return []
        return [f"eval.mode={self.mode!r}: expected min or max"]


# Smallest values of numbers that are not just 0 or more.
LEAST = {"mesh.data": -1} | dict.fromkeys(
    (
        "data.batch",
        "data.tiles",
        "data.image_px",
        "data.threads",
        "multicrop.global_crops",
        "multicrop.local_px",
        "optim.steps",
        "optim.accumulate",
        "mesh.fsdp",
        "checkpoint.every",
        "checkpoint.keep",
        "log.every",
    ),
    1,
)
KINDS = {int: "a whole number", float: "a finite number", bool: "true or false"}
KINDS |= {str: "text", tuple: "a list"}


@dataclasses.dataclass(frozen=True)
class RunConfig:
    """One training run.

    Attributes:
      name: Of the run, in reports.
      seed: Of order, sampling, augmentation and initialisation.
      study: Folder of the study.
      split, fold: What to train on.
      val_fold: Fold of the validation; "" trains without.
      init: Run folder or encoder file to start from; "" is from scratch.
    """

    name: str = ""
    seed: int = 0
    study: str = ""
    split: str = ""
    fold: str = "train"
    val_fold: str = ""
    init: str = ""
    data: DataConfig = DataConfig()
    multicrop: MultiCrop = MultiCrop()  # noqa: RUF009 (frozen)
    model: ModelConfig = ModelConfig()
    adapt: Adaptation = Adaptation()  # noqa: RUF009 (frozen)
    objective: ObjectiveConfig = ObjectiveConfig()
    optim: OptimConfig = OptimConfig()
    mesh: MeshConfig = MeshConfig()
    checkpoint: CheckpointConfig = CheckpointConfig()
    log: LogConfig = LogConfig()
    eval: EvalConfig = EvalConfig()

    # ---------------------------------------------------------------- checks

    def problems(self) -> list[str]:
        """Everything that keeps the run from starting; [] if nothing does."""
        found = [
            problem
            for (key, value), (_, default) in zip(
                _leaves(self), _leaves(RunConfig()), strict=True
            )
            if (problem := _wrong_value(key, value, default))
        ]
        if found:  # the checks below compute with these values
            return found
        for section in (self.data, self.optim, self.log, self.eval, self.adapt):
            found += section.problems()
        for key in ("study", "split", "fold"):
            if not getattr(self, key):
                found.append(f"{key} is not set: give --config.{key}=...")
        if (self.eval.every or self.eval.patience) and not self.val_fold:
            found.append("eval.every needs a fold: give --config.val_fold=...")
        if self.val_fold and self.val_fold == self.fold:
            found.append(f"fold and val_fold are both {self.fold!r}")
        if not self.init and not self.model.variant:
            found.append(
                "model.variant is empty, which takes the encoder of `init`, but init is "
                "not set: name a variant, or a model to start from"
            )
        if not self.init and self.adapt.mode != "full":
            found.append(f"adapt.mode={self.adapt.mode!r} adapts a model: set init")
        if self.data.batch % self.optim.accumulate:
            found.append(
                f"optim.accumulate={self.optim.accumulate} does not divide "
                f"data.batch={self.data.batch}"
            )
        try:
            found += self._unmet_needs(self.objective.build())
        except ValueError as error:
            found.append(str(error))
        return found

    def _unmet_needs(self, objective: Objective) -> list[str]:
        found, data = objective.problems(self.data.batch), self.data
        name = f"objective {self.objective.name}"
        needs_panel = objective.needs_genes or objective.needs_counts
        if needs_panel and not (data.genes or data.gene_list):
            found.append(
                f"{name} needs gene expression: set data.genes or data.gene_list"
            )
        if data.text and not objective.supports_text:
            found.append(f"{name} does not read text: leave data.text empty")
        if objective.unit and data.unit != objective.unit:
            found.append(f"{name} needs data.unit={objective.unit}, got {data.unit}")
        if self.eval.every and not objective.supports_validation:
            found.append(f"{name} has no validation: leave eval.every at 0")
        if self.adapt.mode == "towers" and not objective.supports_embeddings:
            found.append(f"{name} trains the encoder itself: choose another adapt.mode")
        return found

    # ---------------------------------------------------------------- parts

    def encoder(self, init: Model | None) -> ViTConfig:
        """The encoder to train. Raises as `ModelConfig.build`."""
        return self.model.build(init, self.data.image_px, self.adapt.lora())

    def views(self, objective: Objective) -> Augment | MultiCrop:
        """How training views are made."""
        return self.multicrop if objective.views is MultiCrop else self.data.augment()

    def make_mesh(self, devices: Sequence[jax.Device] | None = None) -> Mesh:
        """The mesh, checked against the batch.

        Raises:
          MeshError: Mesh or batch do not divide over the devices.
        """
        mesh, parts = self.mesh.build(devices), self.optim.accumulate
        name = "data.batch" if parts == 1 else "data.batch / optim.accumulate"
        require_divisible(self.data.batch // parts, mesh, name)
        return mesh

    # ---------------------------------------------------------------- conversion

    def to_dict(self) -> dict[str, Any]:
        """Nested plain values, as a config file has them."""
        values: dict[str, Any] = {}
        for field in dataclasses.fields(self):
            value = getattr(self, field.name)
            if dataclasses.is_dataclass(value) and not isinstance(value, type):
                value = dataclasses.asdict(value)
                value |= value.pop("options", {})
            values[field.name] = value
        return values

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Self:
        """The inverse of `to_dict`; absent keys take their defaults.

        Raises:
          ConfigError: Unknown keys.
        """
        known = list(flatten(cls().to_dict()))
        free = ("model.", "objective.")
        unknown = [k for k in flatten(values) if k not in known]
        refuse(
            [
                f"unknown key {key!r}; {did_you_mean(key, known)}"
                for key in unknown
                if not key.startswith(free)
            ]
        )
        sections = {}
        for field in dataclasses.fields(cls):
            if field.name not in values:
                continue
            value, kind = values[field.name], type(field.default)
            if dataclasses.is_dataclass(kind):
                names = [f.name for f in dataclasses.fields(kind)]
                options = {k: v for k, v in value.items() if k not in names}
                value = {k: _like(v, kind, k) for k, v in value.items() if k in names}
                if "options" in names:
                    value["options"] = options
                value = kind(**value)
            sections[field.name] = value
        return cls(**sections)

    def replace(self, changes: Mapping[str, Any]) -> Self:
        """A copy with dotted keys set, checked again.

        Raises:
          ConfigError: All unknown keys, or all bad values.
        """
        values = self.to_dict()
        for key, value in changes.items():
            *path, leaf = key.split(".")
            node = values
            for part in path:
                node = node.setdefault(part, {})
            node[leaf] = value
        changed = type(self).from_dict(values)
        refuse(changed.problems())
        return changed


def flatten(values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested mappings as dotted keys."""
    flat: dict[str, Any] = {}
    for key, value in values.items():
        if isinstance(value, Mapping):
            flat |= flatten(value, f"{prefix}{key}.")
        else:
            flat[f"{prefix}{key}"] = value
    return flat


def _like(value: Any, kind: type, name: str) -> Any:
    """Lists become tuples and integers floats where the default is one."""
    default = getattr(kind(), name)
    if isinstance(default, tuple) and isinstance(value, list):
        return tuple(value)
    if isinstance(default, float) and type(value) is int:
        return float(value)
    return value


def _leaves(config: RunConfig) -> Iterator[tuple[str, Any]]:
    """(dotted key, value) of all fields but the free options."""
    for field in dataclasses.fields(config):
        value = getattr(config, field.name)
        if not dataclasses.is_dataclass(value):
            yield field.name, value
            continue
        for inner in dataclasses.fields(value):
            if inner.name != "options":
                yield f"{field.name}.{inner.name}", getattr(value, inner.name)


def _wrong_value(key: str, value: Any, default: Any) -> str | None:
    kind = type(default)
    numbers = [value] if kind in (int, float) else []
    if kind is tuple and isinstance(value, tuple | list):
        kind, numbers = type(value), [v for v in value if not isinstance(v, str)]
    fits = type(value) is kind or (kind is float and type(value) is int)
    if not fits or not all(math.isfinite(number) for number in numbers):
        return f"{key}={value!r}: expected {KINDS[type(default)]}"
    least = LEAST.get(key, 0)
    if any(number < least for number in numbers):
        return f"{key}={value!r}: expected at least {least}"
    return None
