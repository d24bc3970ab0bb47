"""`RunConfig`: the typed configuration of one run, which all code below receives."""

import dataclasses
import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Self

import jax
from jax.sharding import Mesh

from pathjax.config.sections import (
    CheckpointConfig,
    DataConfig,
    EvalConfig,
    LogConfig,
    MeshConfig,
    ModelConfig,
    ObjectiveConfig,
    OptimConfig,
    is_finite,
    refuse,
    wrong_value,
)
from pathjax.data.transforms import Augment, MultiCrop
from pathjax.models.adaptation import Adaptation
from pathjax.models.model_file import Model
from pathjax.models.variants import ViTConfig
from pathjax.objectives import Anchor, Objective, SelfDistillation
from pathjax.parallel.mesh import require_divisible
from pathjax.registry import did_you_mean


@dataclasses.dataclass(frozen=True)
class RunConfig:
    """One training run.

    Attributes:
      name: Name of the run in reports.
      seed: Seed of order, sampling, augmentation and initialisation.
      study: Folder of the study; has to be set.
      split: Split of the study; has to be set.
      fold: Fold of the split to train on.
      val_fold: Fold for validation; "" trains without.
      init: Run folder or encoder file to start from; "" is from scratch.
    """

    name: str = ""
    seed: int = 0
    study: str = ""
    split: str = ""
    fold: str = "train"
    val_fold: str = ""
    init: str = ""
    data: DataConfig = dataclasses.field(default_factory=DataConfig)
    multicrop: MultiCrop = dataclasses.field(default_factory=MultiCrop)
    model: ModelConfig = dataclasses.field(default_factory=ModelConfig)
    adapt: Adaptation = dataclasses.field(default_factory=Adaptation)
    objective: ObjectiveConfig = dataclasses.field(default_factory=ObjectiveConfig)
    anchor: Anchor = dataclasses.field(default_factory=Anchor)
    self_distillation: SelfDistillation = dataclasses.field(
        default_factory=SelfDistillation
    )
    optim: OptimConfig = dataclasses.field(default_factory=OptimConfig)
    mesh: MeshConfig = dataclasses.field(default_factory=MeshConfig)
    checkpoint: CheckpointConfig = dataclasses.field(default_factory=CheckpointConfig)
    log: LogConfig = dataclasses.field(default_factory=LogConfig)
    eval: EvalConfig = dataclasses.field(default_factory=EvalConfig)

    # ---------------------------------------------------------------- checks

    def problems(self) -> list[str]:
        """Everything that keeps the run from starting; [] if nothing does."""
        problems = [
            problem
            for (key, value), (_, default) in zip(
                _leaves(self), _leaves(RunConfig()), strict=True
            )
            if (problem := wrong_value(key, value, default))
        ]
        for section in ("model", "objective"):
            options = flatten(getattr(self, section).options, f"{section}.")
            problems += [
                f"{key}={f'{value!r}':.40}: expected a finite number"
                for key, value in options.items()
                if isinstance(value, float | int) and not is_finite(value)
            ]
        if problems:  # the checks below compute with these values
            return problems
        checked = (self.data, self.optim, self.log, self.eval, self.adapt, self.anchor)
        for section in (*checked, self.self_distillation):
            problems += section.problems()
        for key in ("study", "split", "fold"):
            if not getattr(self, key):
                problems.append(f"{key} is not set: give --config.{key}=...")
        if (self.eval.every or self.eval.patience) and not self.val_fold:
            problems.append(
                "eval.every needs a fold: give --config.val_fold=..., or eval.every=0 "
                "to train without validation"
            )
        if self.val_fold and self.val_fold == self.fold:
            problems.append(f"fold and val_fold are both {self.fold!r}")
        if not self.init and not self.model.variant:
            problems.append(
                "model.variant is empty, which takes the encoder of `init`, but init is "
                "not set: name a variant, or a model to start from"
            )
        if not self.init and self.adapt.mode != "full":
            problems.append(f"adapt.mode={self.adapt.mode!r} adapts a model: set init")
        if self.anchor.weight and not self.init:
            problems.append("anchor.weight keeps a model close to its start: set init")
        if self.adapt.mode == "towers":
            problems += [
                f"{section}.weight is for an encoder that is trained: set 0"
                for section in self._beside()
            ]
        if self.data.batch % self.optim.accumulate:
            problems.append(
                f"optim.accumulate={self.optim.accumulate} does not divide "
                f"data.batch={self.data.batch}"
            )
        try:
            problems += self._unmet_needs(self.objective.build())
        except ValueError as error:
            problems.append(str(error))
        return problems

    def _unmet_needs(self, objective: Objective) -> list[str]:
        problems, data = objective.problems(self.data.batch), self.data
        name = f"objective {self.objective.name}"
        needs_panel = objective.needs_genes or objective.needs_counts
        if needs_panel and not (data.genes or data.gene_list):
            problems.append(
                f"{name} needs gene expression: set data.genes or data.gene_list"
            )
        if data.batch < objective.min_rows:
            problems.append(
                f"{name} compares the rows of a batch: expected data.batch of at least "
                f"{objective.min_rows}, got {data.batch}"
            )
        if data.smooth and (objective.needs_counts or not needs_panel):
            why = "counts have to stay whole" if needs_panel else "it reads none"
            problems.append(
                f"{name} cannot blend expression ({why}): set data.smooth=0"
            )
        if data.text and not objective.supports_text:
            problems.append(f"{name} does not read text: leave data.text empty")
        if self.init and objective.views is None:
            problems.append(f"{name} reads no image: leave init empty")
        if objective.unit and data.unit != objective.unit:
            problems.append(f"{name} needs data.unit={objective.unit}, got {data.unit}")
        if self.eval.every and not objective.supports_validation:
            problems.append(f"{name} has no validation: leave eval.every at 0")
        if not objective.supports_embeddings:
            problems += [
                f"{name} reads images itself and takes no loss beside its own: set "
                f"{section}.weight=0"
                for section in self._beside()
            ]
        if self.adapt.mode == "towers" and not objective.supports_embeddings:
            problems.append(
                f"{name} trains the encoder itself: choose another adapt.mode"
            )
        return problems

    def unused(self) -> list[str]:
        """Keys that are set in sections whose weight is 0, where they have no effect."""
        off = {"anchor", "self_distillation"} - set(self._beside())
        both = zip(_leaves(self), _leaves(RunConfig()), strict=True)
        return [
            key
            for (key, value), (_, default) in both
            if value != default and key.partition(".")[0] in off
        ]

    def _beside(self) -> list[str]:
        """Sections of losses beside the objective's that are on."""
        sections = ("anchor", "self_distillation")
        return [name for name in sections if getattr(self, name).weight]

    # ---------------------------------------------------------------- parts

    def encoder(self, init: Model | None) -> ViTConfig:
        """The encoder to train. Raises as `ModelConfig.build`."""
        return self.model.build(init, self.data.image_px, self.adapt.lora())

    def views(self, objective: Objective) -> Augment | MultiCrop | None:
        """How training views are made; None without images."""
        if objective.views is None:
            return None
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
            value, kind = values[field.name], field.default_factory
            if isinstance(kind, type):
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
        return float(value) if abs(value) < 1 << 1000 else math.inf
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
