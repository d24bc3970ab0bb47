"""Training objectives, by shipped name or by `package.module:Class`.

To add one, see docs/extend/objective.md: a subclass of `Objective` in a file, and for a
shipped one a line in `OBJECTIVES`. Nothing outside this package names an objective.
"""

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pathjax import gene_towers
from pathjax.models.model_file import IMPORTED, Model, has_heads
from pathjax.objectives.anchored import Anchor, anchored
from pathjax.objectives.contract import (
    batch_losses,
    compared,
    predicted,
    represented,
    require_methods,
)
from pathjax.objectives.contrastive import Contrastive
from pathjax.objectives.dino import DINO
from pathjax.objectives.distilled import SelfDistillation, distilled
from pathjax.objectives.gene_vae import GeneVAE
from pathjax.objectives.joint import Joint
from pathjax.objectives.objective import (
    Batch,
    Objective,
    ObjectiveError,
    Params,
    Spec,
    encode,
    init_vit,
    unpadded,
)
from pathjax.objectives.regression import Regression
from pathjax.registry import Registry, did_you_mean, source_hashes

__all__ = [
    "OBJECTIVES",
    "Anchor",
    "Batch",
    "Objective",
    "ObjectiveError",
    "Params",
    "SelfDistillation",
    "Spec",
    "anchored",
    "batch_losses",
    "build",
    "compared",
    "distilled",
    "encode",
    "init_vit",
    "make",
    "of_model",
    "predicted",
    "represented",
    "unpadded",
]

OBJECTIVES: Registry[type[Objective]] = Registry(
    "objective",
    {
        "contrastive": Contrastive,
        "regression": Regression,
        "joint": Joint,
        "dino": DINO,
        "gene_vae": GeneVAE,
    },
    of=Objective,
)


def make(
    name: str, options: Mapping[str, Any], *, from_file: bool = False
) -> Objective:
    """An objective with its options set, before `setup`.

    Args:
      name: A key of `OBJECTIVES`, or `package.module:Class`.
      options: Its options by name; those of a gene tower are a mapping.
      from_file: They come from a model file, which must not choose what is imported.

    Raises:
      RegistryError: Unknown name, or a class that cannot be imported.
      TowerError: Unknown options of a gene tower.
      ObjectiveError: Unknown options, or a class that lacks a method.
    """
    kind = OBJECTIVES.imported(name) if from_file else OBJECTIVES[name]
    known = kind.option_names()
    unknown = [option for option in options if option not in known]
    if unknown:
        raise ObjectiveError(
            "; ".join(
                f"unknown option 'objective.{option}' of {name}; "
                + (did_you_mean(option, known) if known else "it has none")
                for option in unknown
            )
        )
    require_methods(kind, name)
    # Lists from JSON become tuples, so that objectives are hashable.
    values: dict[str, Any] = {
        k: tuple(v) if isinstance(v, list) else v for k, v in options.items()
    }
    for field in dataclasses.fields(kind):
        if field.name in values and (wrong := _wrong_kind(field, values[field.name])):
            raise ObjectiveError(
                f"objective.{field.name}={values[field.name]!r}: expected {wrong}"
            )
        if field.name in values and isinstance(field.default, gene_towers.GeneTower):
            given = values[field.name]
            if isinstance(given, Mapping):
                values[field.name] = gene_towers.make(given, from_file=from_file)
            elif not isinstance(given, gene_towers.GeneTower):
                raise ObjectiveError(
                    f"objective.{field.name}={given!r}: set its name, such as "
                    f"objective.{field.name}.name={given}"
                )
    try:
        return kind(**values)
    except TypeError as error:
        raise ObjectiveError(f"objective {name}: {error}") from error


KINDS = {bool: "true or false", str: "text", tuple: "a list"}
KINDS |= {int: "a number", float: "a number"}


def _wrong_kind(field: dataclasses.Field, value: Any) -> str:
    """What the option takes, if it is no value of that kind; else empty."""
    default: Any = field.default
    kind, given = type(default), type(value)
    if kind not in KINDS:
        return ""
    if field.type in (int, "int") and given is not int:
        return "a whole number"
    if KINDS.get(given) != KINDS[kind]:
        return KINDS[kind]
    if kind is tuple and default:
        inner = KINDS.get(type(default[0]))
        if inner and any(KINDS.get(type(one)) != inner for one in value):
            return f"a list of which each is {inner}"
    return ""


def build(name: str, spec: Spec, **options: Any) -> Objective:
    """An objective by name, set up for a run. Raises as `make` and `setup` do."""
    return make(name, options).setup(spec)


def of_model(
    model: Model, *, cached: bool = False, vectors: str | Path = ""
) -> Objective:
    """The objective that a model file was trained by, set up for prediction.

    Args:
      model: Its metadata name the objective and its options.
      cached: Take embeddings in place of images.
      vectors: File of the samples' vectors, in place of that of training; for a model
        that `needs_vectors`.

    Raises:
      RegistryError: Its class is not shipped, and its module not imported by the user.
      ObjectiveError: None has trained it (a public or blended model), it cannot be set
        up, or its class has other code than when it was trained.
    """
    options = dict(model.meta["objective"])
    name, text_dim = options.pop("name"), options.pop("text_dim", 0)
    if not has_heads(model.meta):
        raise ObjectiveError(
            f"this is {'a public' if name == IMPORTED else 'a blended'} model, an "
            "encoder without heads: take one that `pathjax train` wrote"
        )
    made: Any = make(name, options, from_file=True)
    if vectors and made.needs_vectors:
        tower = dataclasses.replace(made.expression_tower, vectors=str(vectors))
        made = dataclasses.replace(made, expression_tower=tower)
    recorded = model.meta.get("code", {})
    for module, digest in source_hashes(name, made).items():
        if recorded.get(module, digest) != digest:
            raise ObjectiveError(
                f"the model was trained by {name} with other code in {module} "
                f"(SHA-256 {recorded[module][:12]}, now {digest[:12]}): restore that "
                "version of the file, or train again"
            )
    panel = model.meta.get("panel")
    n_genes = len(panel["genes"]) if panel else 0
    variance = tuple(value**2 for value in panel["std"]) if panel else ()
    steps = model.meta.get("step", 0)
    spec = Spec(
        *(model.vit, n_genes, text_dim, steps, cached),
        gene_variance=variance,
        resources=model.meta.get("resources") or {},
    )
    return made.setup(spec)
