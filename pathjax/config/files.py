"""Config files and command-line overrides: the only code that knows `ConfigDict`.

    --config=configs/demo.py:contrastive,smoke --config.optim.lr=3e-5

A config file defines `get_config(arg)`, which returns a `ConfigDict` made from
`base_config()`; `arg` is the part after the colon. Dotted flags override its values.
`load` and `resolve` turn it into a checked `RunConfig`.
"""

import importlib.util
import json
from pathlib import Path
from typing import Any

from ml_collections import ConfigDict

from pathjax.config.run import RunConfig, flatten
from pathjax.config.sections import ConfigError, refuse
from pathjax.registry import did_you_mean

# What users may hand in, and what `resolve` makes typed.
Config = ConfigDict | RunConfig


def base_config() -> ConfigDict:
    """Every key with its default. Config files set only what differs."""
    return ConfigDict(RunConfig().to_dict())


def resolve(config: Config) -> RunConfig:
    """The typed form of a config, checked before any device is touched.

    Raises:
      ConfigError: Unknown keys, or all values that cannot be run.
    """
    if not isinstance(config, RunConfig):
        config = RunConfig.from_dict(config.to_dict())
    refuse(config.problems())
    return config


def load(path: str, overrides: dict[str, Any] | None = None) -> RunConfig:
    """Loads `FILE.py:ARG`, applies overrides and checks the result.

    Args:
      path: Config file and its argument.
      overrides: Dotted key to value, such as `{"optim.lr": 3e-5}`.

    Raises:
      ConfigError: No such file, unknown keys or bad values, all at once.
    """
    file, arg = find(path)
    spec = importlib.util.spec_from_file_location(f"pathjax_config_{file.stem}", file)
    module = importlib.util.module_from_spec(spec)
    try:
        spec.loader.exec_module(module)
        config = module.get_config(arg)
    except ConfigError:
        raise
    except Exception as error:  # whatever the user's code raises
        name = type(error).__name__
        raise ConfigError(
            f"{file} cannot be run: {name}: {str(error)[:300]}"
        ) from error
    if not isinstance(config, ConfigDict):
        raise ConfigError(
            f"{file}: expected get_config to return the ConfigDict of base_config(), got "
            f"{type(config).__name__}"
        )
    override(config, overrides or {})
    return resolve(config)


def find(path: str) -> tuple[Path, str | None]:
    """Splits `FILE.py:ARG` and finds the file: here, or among the shipped ones.

    Raises:
      ConfigError: There is no such file.
    """
    name, colon, arg = path.partition(":")
    here = Path(name)
    for candidate in (here, shipped_folder() / here.name):
        if candidate.is_file():
            return candidate, arg if colon else None
    known = sorted(p.name for p in shipped_folder().glob("*.py") if p.name[0] != "_")
    raise ConfigError(
        f"no config file {name} in {Path.cwd()} or among the shipped ones: "
        f"{', '.join(known)}"
    )


def shipped_folder() -> Path:
    """Folder of the shipped configs: next to the checkout, or inside the wheel."""
    spec = importlib.util.find_spec("pathjax.configs")
    if spec and spec.submodule_search_locations:
        return Path(next(iter(spec.submodule_search_locations)))
    return Path(__file__).resolve().parents[2] / "configs"


def parse_arg(arg: str | None, **defaults: Any) -> ConfigDict:
    """Parses the part of a config path after the colon.

    `"regression,smoke,k=4"` with defaults `mode="contrastive", smoke=False, k=8` gives
    mode "regression", smoke True, k 4: a bare word is a flag if its default is a bool,
    else it is the `mode`.

    Raises:
      ConfigError: An unknown word, two modes, or a value of another type.
    """
    parsed, modes = ConfigDict(defaults), []
    for part in filter(None, (arg or "").split(",")):
        key, equals, value = part.partition("=")
        if not equals and isinstance(defaults.get(key), bool):
            parsed[key] = True
        elif not equals and "mode" in defaults:
            if modes:
                raise ConfigError(
                    f"config argument {part!r}: the mode is {modes[0]!r} already; "
                    "give one of them"
                )
            modes.append(key)
            parsed["mode"] = key
        elif key not in defaults:
            raise ConfigError(
                f"unknown config argument {part!r}; {did_you_mean(key, defaults)}"
            )
        else:
            kind = type(defaults[key])
            try:
                parsed[key] = kind(value) if kind is not bool else value != "0"
            except ValueError as error:
                raise ConfigError(
                    f"config argument {part!r}: expected {kind.__name__}"
                ) from error
    return parsed


def override(config: ConfigDict, overrides: dict[str, Any]) -> None:
    """Sets dotted keys, checking names and types.

    Strings are read as JSON if the key's present value is not a string, so that
    command-line flags and Python values are treated alike. The sections `model` and
    `objective` accept new keys, which are checked by the encoder and the objective.

    Raises:
      ConfigError: All keys and values that do not fit.
    """
    problems = []
    known = flatten(config.to_dict())
    for key, value in overrides.items():
        *sections, leaf = key.split(".")
        node = config
        for place, section in enumerate(sections):
            inside = place and sections[0] == "objective"
            if inside and isinstance(node, ConfigDict) and section not in node:
                with node.unlocked():  # options of an option, such as a gene tower's
                    node[section] = ConfigDict()
            node = node.get(section) if isinstance(node, ConfigDict) else None
        is_free = sections == ["model"] or sections[:1] == ["objective"]
        if not isinstance(node, ConfigDict) or (leaf not in node and not is_free):
            problems.append(f"unknown key {key!r}; {did_you_mean(key, known)}")
            continue
        present = node.get(leaf)
        try:
            value = _typed(value, present)
            with node.unlocked():
                node[leaf] = value
        except (TypeError, ValueError) as error:
            problems.append(
                f"{key}={repr(value)[:60]}: expected {type(present).__name__}, such as "
                f"{present!r} ({error})"
            )
    refuse(problems)


def _typed(value: Any, present: Any) -> Any:
    if not isinstance(value, str) or isinstance(present, str):
        return value
    try:
        parsed = json.loads(value.lower() if value in ("True", "False") else value)
    except json.JSONDecodeError:
        if present is None:
            return value
        raise ValueError("it is not JSON") from None
    if isinstance(present, bool) != isinstance(parsed, bool) and present is not None:
        raise ValueError("numbers are not true or false")
    if isinstance(present, float) and isinstance(parsed, int):
        return float(parsed)
    if isinstance(present, tuple) and isinstance(parsed, list):
        return tuple(parsed)
    return parsed
