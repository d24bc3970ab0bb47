"""Gene towers: from a sample's expression to a vector, by shipped name or one's own.

`objective.expression_tower.name` chooses one, `package.module:Class` takes one's own
(docs/extend/tower.md). The projection to the shared space follows and is the objective's.
"""

from collections.abc import Mapping
from typing import Any

from pathjax.gene_towers.external import External
from pathjax.gene_towers.mlp import MLP
from pathjax.gene_towers.pathways import Pathways
from pathjax.gene_towers.tower import GeneTower, SharedOptions, TowerError
from pathjax.gene_towers.vae import VAE
from pathjax.registry import Registry, did_you_mean

__all__ = [
    "DEFAULT",
    "MLP",
    "TOWERS",
    "GeneTower",
    "SharedOptions",
    "TowerError",
    "make",
    "options_of",
]

DEFAULT: GeneTower = MLP()
TOWERS: Registry[type[GeneTower]] = Registry(
    "gene tower",
    {"mlp": MLP, "vae": VAE, "pathways": Pathways, "external": External},
    of=GeneTower,
)


def make(options: Mapping[str, Any], *, from_file: bool = False) -> GeneTower:
    """A tower from its options, `name` among them, "mlp" without.

    Args:
      options: By name.
      from_file: They come from a model file, which must not choose what is imported.

    Raises:
      RegistryError: An unknown name, or a class that is not imported.
      TowerError: Unknown options.
    """
    values = {k: tuple(v) if isinstance(v, list) else v for k, v in options.items()}
    name = values.pop("name", "mlp")
    kind = TOWERS.imported(name) if from_file else TOWERS[name]
    known = kind.option_names()
    if unknown := [option for option in values if option not in known]:
        raise TowerError(
            "; ".join(
                f"unknown option 'objective.expression_tower.{option}' of {name}; "
                + (did_you_mean(option, known) if known else "it has none")
                for option in unknown
            )
        )
    try:
        return kind(**values)
    except TypeError as error:
        raise TowerError(f"gene tower {name}: {error}") from error


def options_of(tower: GeneTower) -> dict[str, Any]:
    """The inverse of `make`: name and all options, defaults included."""
    values = {name: getattr(tower, name) for name in tower.option_names()}
    return {"name": TOWERS.name_of(type(tower)), **values}
