"""Configs: one tree of defaults, files that set what differs, checks before a device.

    --config=configs/demo.py:contrastive,smoke --config.optim.lr=3e-5

The part after the colon is structure and reaches `get_config(arg)`; the dotted flags are
values. Unknown keys fail with the nearest names. `validate` collects everything wrong
before any device is touched. Only `train.py` and the command line know this object;
everything below takes plain arguments.
"""

import difflib
import importlib.util
import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from ml_collections import ConfigDict

from pathjax.models.adaptation import Adaptation
from pathjax.models.lora import TARGETS
from pathjax.objectives import Objective, make


class ConfigError(ValueError):
    """A config that cannot be run; the message lists all reasons."""


def base_config() -> ConfigDict:
    """Every key there is, with its default. Config files set only what differs."""
    return ConfigDict(
        {
            "name": "",  # of the run, in reports
            "seed": 0,
            "study": "",  # directory
            "split": "",  # named split of the study
            "fold": "train",
            "val_fold": "",  # "" trains without validation
            "init": "",  # run folder or encoder file to start from; "" is from scratch
            "data": {
                "batch": 64,  # samples, over all devices
                "tiles": 1,  # K per sample
                "image_px": 64,
                "unit": "sample",  # "tile": each tile is a sample (self-supervision)
                "pair_by": "patient_id",  # whose samples are no negatives of each other
                "genes": 0,  # the most variable ones on train; 0 without expression
                "gene_list": "",  # file of names, one a line, in place of `genes`
                "text": "",  # file of `pathjax text embed`: report text as a third tower
                "drop_unpaired": False,  # leave out samples without expression
                "flip": True,
                "turn": True,  # by a quarter, with flip
                "stain": 0.05,  # jitter of stain concentrations
                "min_scale": 1.0,  # of the random crop's area
                "threads": 2,
                "buffer": 4,  # batches read ahead
            },
            "multicrop": {  # DINO's views
                "global_crops": 2,
                "local_crops": 4,
                "local_px": 32,
                "global_scale": (0.4, 1.0),
                "local_scale": (0.1, 0.4),
                "stain": 0.1,
            },
            # `variant` names a row of models.vit.VARIANTS; "" takes the encoder of
            # `init` as it is. The rest of `model` are fields of ViTConfig that differ.
            "model": ConfigDict({"variant": "Mi/8"}),
            "adapt": {  # how much of the encoder is trained (adapt.py)
                "mode": "full",  # full, last, lora or towers
                "blocks": 2,  # of "last"
                "rank": 8,  # of "lora", as the two below
                "alpha": 8.0,
                "targets": TARGETS,
            },
            "objective": {"name": "contrastive"},  # the rest are its options
            "optim": {
                "steps": 1000,
                "lr": 1e-3,
                "warmup": 50,  # steps
                "end_lr": 0.0,  # fraction of lr at the last step (cosine)
                "weight_decay": 0.05,
                "clip": 1.0,  # of the global gradient norm; 0 is off
                "b2": 0.999,
                "vit_lr": 1.0,  # factor on the learning rate of the encoder
                "layer_decay": 1.0,  # of it, from each block to the one before
                "accumulate": 1,  # parts that a batch goes through the encoders in
                "freeze": (),  # regular expressions over parameter paths
            },
            "mesh": {"data": -1, "fsdp": 1},
            "checkpoint": {"every": 200, "keep": 2},
            "log": {
                "every": 10,
                "tensorboard": False,
                "profile": (),  # (steps done when a trace begins, steps to trace)
                "stall_seconds": 600.0,  # without a step before it is said; 0 is never
            },
            "eval": {
                "every": 0,  # steps; 0 without validation
                "metric": "val/loss",
                "mode": "min",
                "patience": 0,  # validations without improvement; 0 never stops
            },
        }
    )


def parse_arg(arg: str | None, **defaults: Any) -> ConfigDict:
    """Parses the part of a config path after the colon.

    `"regression,smoke,k=4"` with defaults `mode="contrastive", smoke=False, k=8` gives
    mode "regression", smoke True, k 4: a bare word is a flag when its default is a
    bool, else it is the `mode`.

    Raises:
      ConfigError: an unknown word or a value of another type.
    """
    parsed = ConfigDict(defaults)
    for part in filter(None, (arg or "").split(",")):
        key, equals, value = part.partition("=")
        if not equals and isinstance(defaults.get(key), bool):
            parsed[key] = True
        elif not equals and "mode" in defaults:
            parsed["mode"] = key
        elif key not in defaults:
            raise ConfigError(
                f"config argument {part!r}: no such option, near are "
                f"{nearest(key, defaults)}"
            )
        else:
            kind = type(defaults[key])
            try:
                parsed[key] = kind(value) if kind is not bool else value != "0"
            except ValueError as error:
                raise ConfigError(
                    f"config argument {part!r}: wanted {kind.__name__}"
                ) from error
    return parsed


def find(path: str) -> tuple[Path, str | None]:
    """Splits `FILE.py:ARG` and finds the file: here, or among the shipped ones.

    Raises:
      ConfigError: there is no such file.
    """
    name, colon, arg = path.partition(":")
    here = Path(name)
    shipped = shipped_folder() / here.name
    for candidate in (here, shipped):
        if candidate.is_file():
            return candidate, arg if colon else None
    known = sorted(p.name for p in shipped_folder().glob("*.py") if p.name[0] != "_")
    raise ConfigError(
        f"no config file {name}, neither in {Path.cwd()} nor among the shipped ones: "
        f"{', '.join(known)}"
    )


def shipped_folder() -> Path:
    """Where the shipped configs lie: beside the checkout or inside the wheel."""
    spec = importlib.util.find_spec("pathjax.configs")
    if spec and spec.submodule_search_locations:
        return Path(next(iter(spec.submodule_search_locations)))
    return Path(__file__).resolve().parent.parent / "configs"


def load(path: str, overrides: dict[str, Any] | None = None) -> ConfigDict:
    """Loads `FILE.py:ARG`, applies overrides, locks and validates.

    Args:
      path: config file and its argument.
      overrides: dotted key to value, such as `{"optim.lr": 3e-5}`.

    Raises:
      ConfigError: unknown keys or bad values, all at once.
    """
    file, arg = find(path)
    spec = importlib.util.spec_from_file_location(f"pathjax_config_{file.stem}", file)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    config = module.get_config(arg)
    override(config, overrides or {})
    validate(config)
    return config.lock()


def override(config: ConfigDict, overrides: dict[str, Any]) -> None:
    """Sets dotted keys, checking names and types.

    Strings are read as JSON where the key's present value is no string, so that
    command-line flags and Python values go the same way. The sections `model` and
    `objective` take new keys: their options are checked where they are used.

    Raises:
      ConfigError: all keys and values that do not fit.
    """
    found = []
    for key, value in overrides.items():
        *sections, leaf = key.split(".")
        node = config
        for section in sections:
            node = node.get(section) if isinstance(node, ConfigDict) else None
        if not isinstance(node, ConfigDict) or (
            leaf not in node and sections not in (["model"], ["objective"])
        ):
            found.append(
                f"{key}: no such key, near are {nearest(key, flat_keys(config))}"
            )
            continue
        present = node.get(leaf)
        try:
            value = _typed(value, present)
            with node.unlocked():
                node[leaf] = value
        except (TypeError, ValueError) as error:
            found.append(
                f"{key}={value!r}: wanted {type(present).__name__} like {present!r} "
                f"({error})"
            )
    refuse(found)


def _typed(value: Any, present: Any) -> Any:
    if not isinstance(value, str) or isinstance(present, str):
        return value
    try:
        parsed = json.loads(value.lower() if value in ("True", "False") else value)
    except json.JSONDecodeError:
        if present is None:
            return value
        raise ValueError("not readable as that") from None
    if isinstance(present, bool) != isinstance(parsed, bool) and present is not None:
        raise ValueError("true or false is one thing, a number another")
    if isinstance(present, float) and isinstance(parsed, int):
        return float(parsed)
    if isinstance(present, tuple) and isinstance(parsed, list):
        return tuple(parsed)
    return parsed


def flat_keys(config: ConfigDict, prefix: str = "") -> list[str]:
    """All dotted keys."""
    keys = []
    for key, value in config.items():
        name = f"{prefix}{key}"
        keys += (
            flat_keys(value, f"{name}.") if isinstance(value, ConfigDict) else [name]
        )
    return keys


def nearest(name: str, known: Iterable[str]) -> str:
    """The nearest known names, or all when none is near, for an error message."""
    known = list(known)
    return ", ".join(difflib.get_close_matches(name, known, 3, 0.5) or sorted(known))


def validate(config: ConfigDict) -> None:
    """Refuses a config that cannot be run, before any device is touched.

    Raises:
      ConfigError: all reasons.
    """
    found = []
    extra = set(flat_keys(config)) - set(flat_keys(base_config()))
    extra = {k for k in extra if not k.startswith(("model.", "objective."))}
    for key in sorted(extra):
        found.append(
            f"{key}: no such key, near are {nearest(key, flat_keys(base_config()))}"
        )
    lacking = set(flat_keys(base_config())) - set(flat_keys(config))
    found += [f"{key} is missing" for key in sorted(lacking)]
    refuse(found)
    objective = None
    try:
        objective = objective_of(config)
    except ValueError as error:
        found.append(str(error))
    for key in (
        "data.batch",
        "data.tiles",
        "data.image_px",
        "optim.steps",
        "data.threads",
        "checkpoint.every",
        "checkpoint.keep",
        "log.every",
        "optim.accumulate",
    ):
        section, name = key.split(".")
        if config[section][name] < 1:
            found.append(f"{key}={config[section][name]}: wanted at least 1")
    for key in ("study", "split", "fold"):
        if not config[key]:
            found.append(f"{key} is not set: give --config.{key}=...")
    if config.eval.mode not in ("min", "max"):
        found.append(f"eval.mode={config.eval.mode!r}: wanted min or max")
    if (config.eval.every or config.eval.patience) and not config.val_fold:
        found.append("eval.every is set, but no val_fold: give --config.val_fold=...")
    if config.val_fold and config.val_fold == config.fold:
        found.append(f"fold and val_fold are both {config.fold!r}")
    if objective is not None:
        found += unmet_needs(config, objective)
    if config.optim.warmup > config.optim.steps:
        found.append(
            f"optim.warmup={config.optim.warmup} is longer than "
            f"optim.steps={config.optim.steps}"
        )
    found += adaptation(config).problems()
    if not config.init:
        if not config.model.get("variant"):
            found.append(
                "model.variant is empty, which takes the encoder of `init`, "
                "but init is not set: name a variant, or a model to start from"
            )
        if config.adapt.mode != "full":
            found.append(f"adapt.mode={config.adapt.mode!r} adapts a model: set init")
    parts = max(config.optim.accumulate, 1)
    if config.data.batch % parts:
        found.append(
            f"optim.accumulate={parts} does not divide data.batch={config.data.batch}"
        )
    span = config.log.profile
    if span and (len(span) != 2 or span[0] < 0 or span[1] < 1):
        found.append(
            f"log.profile={tuple(span)}: wanted (steps done when it begins, steps to "
            "trace), such as (20, 5)"
        )
    if config.log.stall_seconds < 0:
        found.append(f"log.stall_seconds={config.log.stall_seconds}: wanted 0 or more")
    refuse(found)


def objective_of(config: ConfigDict) -> Objective:
    """The section `objective`.

    Raises:
      RegistryError, ObjectiveError: An unknown objective or option.
    """
    options = config.objective.to_dict()
    return make(options.pop("name"), options)


def unmet_needs(config: ConfigDict, objective: Objective) -> list[str]:
    """What the objective needs and the config does not provide."""
    found, data = objective.problems(config.data.batch), config.data
    name = f"objective {config.objective.name}"
    if objective.needs_genes and not (data.genes or data.gene_list):
        found.append(f"{name} needs gene expression: set data.genes or data.gene_list")
    if data.text and not objective.supports_text:
        found.append(f"{name} does not read text: leave data.text empty")
    if objective.unit and data.unit != objective.unit:
        found.append(f"{name} needs data.unit={objective.unit!r}, got {data.unit!r}")
    if config.eval.every and not objective.supports_validation:
        found.append(f"{name} has no validation: leave eval.every at 0")
    if config.adapt.mode == "towers" and not objective.supports_embeddings:
        found.append(f"{name} trains the encoder itself: choose another adapt.mode")
    return found


def adaptation(config: ConfigDict) -> Adaptation:
    """The section `adapt` as values."""
    return Adaptation(**config.adapt.to_dict())


def refuse(found: Sequence[str]) -> None:
    """Raises one ConfigError with everything in `found`, if there is anything."""
    if found:
        raise ConfigError("the config cannot be run:\n  - " + "\n  - ".join(found))
