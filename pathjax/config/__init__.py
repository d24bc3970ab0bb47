"""The configuration of a run: what users write, and its typed form.

`files` reads config files and flags, `run` and `sections` are the typed form that all
other code receives.
"""

from pathjax.config.files import (
    Config,
    base_config,
    find,
    load,
    override,
    parse_arg,
    resolve,
    shipped_folder,
)
from pathjax.config.run import RunConfig, flatten
from pathjax.config.sections import ConfigError, EvalConfig, refuse

__all__ = [
    "Config",
    "ConfigError",
    "EvalConfig",
    "RunConfig",
    "base_config",
    "find",
    "flatten",
    "load",
    "override",
    "parse_arg",
    "refuse",
    "resolve",
    "shipped_folder",
]
