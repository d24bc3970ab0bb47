"""Sections of a run's configuration, as frozen dataclasses.

Every section checks itself (`problems`) and builds its part. The defaults are defined
here and nowhere else. Nothing here reads data or touches a device.
"""

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import jax
from jax.sharding import Mesh

from pathjax import objectives
from pathjax.data.study import listing
from pathjax.data.tables import read_list
from pathjax.data.transforms import Augment
from pathjax.models.model_file import Model
from pathjax.models.variants import ViTConfig, nearest_multiples, vit_config
from pathjax.objectives import Objective
from pathjax.parallel.mesh import make_mesh
from pathjax.registry import did_you_mean


class ConfigError(ValueError):
    """A config that cannot be run; the message lists all reasons."""


def refuse(problems: Sequence[str]) -> None:
    """Raises one ConfigError with all problems, if there are any."""
    if problems:
        lines = listing(problems, separator="\n  - ")
        raise ConfigError(f"the config cannot be run:\n  - {lines}")


@dataclasses.dataclass(frozen=True)
class DataConfig:
    """Batches and augmentation."""

    batch: int = 64  # samples per step, over all devices
    tiles: int = 1  # K, tiles sampled per sample and step
    image_px: int = 64  # side of the training views
    unit: str = "sample"  # or "tile": each is a sample (self-supervision)
    pair_by: str = "patient_id"  # or "sample_id": samples sharing it are no negatives
    pairing: str = "own"  # or "shuffled": labels of other patients, a control
    genes: int = 0  # number, the most variable on train; 0: no expression
    gene_list: str = ""  # file of gene names, one a line, in place of `genes`
    text: str = ""  # file of `pathjax text embed`: report text as a third modality
    drop_unpaired: bool = False  # leave out samples without expression
    smooth: float = 0.0  # weight of a spot's neighbours in its training targets
    flip: bool = True  # mirror views at random
    turn: bool = True  # quarter turns too, with flip
    stain: float = 0.05  # jitter of the stain concentrations
    min_scale: float = 1.0  # smallest area of the random crop, relative to the tile
    threads: int = 2  # threads that read and decode tiles
    buffer: int = 4  # batches read ahead

    def problems(self) -> list[str]:
        problems = []
        if self.unit not in ("sample", "tile"):
            problems.append(f"data.unit={self.unit!r}: expected sample or tile")
        if self.pair_by not in ("patient_id", "sample_id"):
            problems.append(
                f"data.pair_by={self.pair_by!r}: expected patient_id or sample_id"
            )
        if self.pairing not in ("own", "shuffled"):
            problems.append(
                f"data.pairing={self.pairing!r}: expected own or shuffled (a control: each "
                "patient's images with another's expression and text)"
            )
        if self.smooth > 1:
            problems.append(f"data.smooth={self.smooth}: expected 0 to 1")
        if self.smooth and self.unit != "sample":
            problems.append("data.smooth blends spots: expected data.unit=sample")
        if self.min_scale > 1:
            problems.append(f"data.min_scale={self.min_scale}: expected 0 to 1")
        return problems

    def augment(self) -> Augment:
        """Augmentation of single views."""
        return Augment(self.flip, self.turn, self.stain, self.min_scale)

    def panel_genes(self) -> int | list[str]:
        """The number of genes to choose, or the names in `gene_list`."""
        if not self.gene_list:
            return self.genes
        return read_list(Path(self.gene_list))


@dataclasses.dataclass(frozen=True)
class ModelConfig:
    """The encoder.

    Attributes:
      variant: Size and patch: Xs/8, Mi/8, Ti6/16, Ti/16, S/16, S/14, S/8, B/16, B/14,
        B/8, L/16, L/14 or g/14; "" takes the encoder of `init`.
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
      name: "contrastive", "regression", "joint", "dino" or "gene_vae", or
        `package.module:Class`.
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
    """AdamW with warm-up and a cosine schedule."""

    steps: int = 1000  # steps of the whole run
    lr: float = 1e-3  # learning rate after the warm-up
    warmup: int = 50  # steps over which the learning rate rises from 0
    end_lr: float = 0.0  # learning rate at the last step, as a fraction of lr
    weight_decay: float = 0.05  # decoupled, as in AdamW
    clip: float = 1.0  # largest global gradient norm; 0 is off
    b2: float = 0.999  # decay rate of the second moment
    vit_lr: float = 1.0  # factor on the learning rate of the encoder
    layer_decay: float = 1.0  # factor on it per block, from the last to the first
    accumulate: int = 1  # parts in which a batch passes through the encoders
    freeze: tuple[str, ...] = ()  # parameters to freeze: regular expressions over paths

    def problems(self) -> list[str]:
        problems = []
        if self.warmup > self.steps:
            problems.append(
                f"optim.warmup={self.warmup} is longer than optim.steps={self.steps}"
            )
        if self.b2 >= 1:
            problems.append(f"optim.b2={self.b2}: expected 0 <= b2 < 1")
        return problems


@dataclasses.dataclass(frozen=True)
class MeshConfig:
    """Devices along each mesh axis."""

    data: int = -1  # parts of the batch; -1 takes the devices that fsdp leaves
    fsdp: int = 1  # parts of parameters and their moments

    def build(self, devices: Sequence[jax.Device] | None = None) -> Mesh:
        """The mesh over `devices`, by default all. Raises MeshError."""
        return make_mesh(self.data, self.fsdp, devices)


@dataclasses.dataclass(frozen=True)
class CheckpointConfig:
    """Checkpoints, from which a run resumes."""

    every: int = 200  # steps between checkpoints
    keep: int = 2  # how many of the newest to keep


@dataclasses.dataclass(frozen=True)
class LogConfig:
    """What a run reports."""

    every: int = 10  # steps between lines of metrics.jsonl
    tensorboard: bool = False  # also write TensorBoard files
    profile: tuple[int, ...] = ()  # (steps done when a trace begins, steps to trace)
    stall_seconds: float = 600.0  # time without progress before a warning; 0 is off

    def problems(self) -> list[str]:
        span = self.profile
        if not span or (len(span) == 2 and span[0] >= 0 and span[1] >= 1):
            return []
        expected = "(steps done when it begins, steps to trace), such as (20, 5)"
        return [f"log.profile={tuple(span)}: expected {expected}"]


@dataclasses.dataclass(frozen=True)
class EvalConfig:
    """Validation and early stopping."""

    every: int = 0  # steps between validations; 0 does not validate
    metric: str = "val/loss"  # metric that the best model is chosen by
    mode: str = "min"  # best is "min" or "max"
    patience: int = 0  # validations without improvement to stop; 0 never

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


def is_finite(number: float) -> bool:
    """Whether a 64-bit float can hold it; Python's integers have no end."""
    return -1e300 < number < 1e300


def wrong_value(key: str, value: Any, default: Any) -> str | None:
    """What is wrong with the type, size or finiteness of a value, if anything."""
    kind = type(default)
    numbers = [value] if kind in (int, float) else []
    if kind is tuple and isinstance(value, tuple | list):
        kind, numbers = type(value), [v for v in value if not isinstance(v, str)]
    fits = type(value) is kind or (kind is float and type(value) is int)
    if not fits or not all(map(is_finite, numbers)):
        return f"{key}={f'{value!r}':.40}: expected {KINDS[type(default)]}"
    least = LEAST.get(key, 0)
    if any(number < least for number in numbers):
        return f"{key}={f'{value!r}':.40}: expected at least {least}"
    return None
