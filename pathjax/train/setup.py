"""The parts of a run, each built from the config: what `train` puts together.

Panel, views, encoder, objective, shapes of a batch, and what travels with the model.
Nothing here takes a step or touches a device.
"""

import dataclasses
import difflib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
from ml_collections import ConfigDict

from pathjax import objectives
from pathjax.config import ConfigError, adaptation, objective_of, refuse
from pathjax.data.expression import GenePanel, fit_panel, require_same_genes
from pathjax.data.samples import Samples
from pathjax.data.study import Study
from pathjax.data.text_scale import Texts, fit_text
from pathjax.data.text_store import read_text
from pathjax.data.transforms import Augment, MultiCrop
from pathjax.models.blocks import to_plain
from pathjax.models.model_file import Model
from pathjax.models.variants import ViTConfig, nearest_multiples, vit_config

# What a public model brings along, and everything tuned from it has to carry on.
INHERITED = ("foundation", "preprocess")


def read_panel(
    study: Study, config: ConfigDict, init: Model | None
) -> GenePanel | None:
    """Fits the gene panel on the training fold, if the objective reads expression."""
    if not objective_of(config).needs_genes:
        return None
    ids = study.samples["sample_id"].to_numpy()
    train = list(ids[study.fold_samples(config.split, config.fold)])
    expression = study.expression()
    if config.data.drop_unpaired or config.data.text:
        train = [one for one in train if one in expression.obs_names]
    genes: Any = int(config.data.genes)
    if config.data.gene_list:
        text = Path(config.data.gene_list).read_text(encoding="utf-8")
        genes = [line.strip() for line in text.splitlines() if line.strip()]
    panel = fit_panel(expression, train, genes)
    # A start from a model with heads of its own has to keep its genes in order.
    if init is not None and init.meta.get("panel") and set(init.params) != {"vit"}:
        require_same_genes(init.meta["panel"]["genes"], panel.genes, config.init)
    return panel


def read_texts(study: Study, config: ConfigDict) -> Texts | None:
    """Reads the text embeddings, if there are any, and fits their scale on train.

    Raises:
      TextError: the file is none of text embeddings.
      StudyError: too few training samples have a text.
    """
    if not config.data.text:
        return None
    embeddings = read_text(Path(config.data.text))
    train = study.fold_samples(config.split, config.fold)
    ids = study.samples["sample_id"].to_numpy()[train]
    return Texts(embeddings, fit_text(embeddings, list(ids)))


def require_same_scale(config: ConfigDict, study: Study, init: Model | None) -> None:
    """Refuses tiles that the model would see at another scale when it embeds them.

    A public model resizes what it is given; training crops. They agree where tiles have
    the size that the model resizes to. Multi-crop views have many scales.

    Raises:
      ConfigError: saying which size to build the study with.
    """
    asked = init.meta.get("preprocess") if init else None
    if asked is None or objective_of(config).views is MultiCrop:
        return
    found = []
    if study.tile_px != asked["resize"]:
        found.append(
            f"study {study.name} has tiles of {study.tile_px} px, and {config.init} "
            f"resizes its input to {asked['resize']}: build the study with tiles of "
            f"{asked['resize']} px, or training sees another magnification"
        )
    if config.data.image_px != asked["crop"]:
        found.append(
            f"data.image_px={config.data.image_px}, and {config.init} takes "
            f"{asked['crop']}: set data.image_px={asked['crop']}"
        )
    refuse(found)


def require_negatives(config: ConfigDict, samples: Samples) -> None:
    """Refuses a run without negatives if the objective needs them.

    Raises:
      ConfigError: saying which key pairs samples.
    """
    if objective_of(config).needs_negatives and len(set(samples.pair_id)) < 2:
        raise ConfigError(
            f"objective {config.objective.name} needs negatives, but all "
            f"{len(samples)} samples of fold {config.fold!r} share one "
            f"{config.data.pair_by}: set data.pair_by=sample_id to contrast the spots "
            "of one patient, or choose a fold with more patients"
        )


def view_options(config: ConfigDict) -> Augment | MultiCrop:
    """How training views are made."""
    if objective_of(config).views is MultiCrop:
        return MultiCrop(**config.multicrop.to_dict())
    keys = ("flip", "turn", "stain", "min_scale")
    return Augment(**{key: config.data[key] for key in keys})


def encoder_config(config: ConfigDict, init: Model | None) -> ViTConfig:
    """The encoder to train: a variant, or that of `init`, with what the config changes.

    Raises:
      ConfigError: an unknown field, or images that do not divide into patches.
      ValueError: an unknown variant, or a shape that cannot be built.
    """
    changes = config.model.to_dict()
    variant = changes.pop("variant")
    px = config.data.image_px
    if variant or init is None:
        vit = vit_config(variant, **({"image_px": px} | changes))
    else:
        fields = [field.name for field in dataclasses.fields(ViTConfig)]
        for name in changes:
            if name not in fields:
                near = difflib.get_close_matches(name, fields, 3, 0.3)
                raise ConfigError(f"model.{name}: no such field, near are {near}")
        # The grid stays that of the weights, so that the tuned model drops in where
        # its base does; other image sizes resize positions at forward.
        vit = init.vit.replace(**changes)
    if px % vit.patch:
        raise ConfigError(
            f"data.image_px={px} is no multiple of the encoder's patch, {vit.patch}: "
            f"use {nearest_multiples(px, vit.patch)}"
        )
    return vit.replace(lora=adaptation(config).lora())


def build_objective(
    config: ConfigDict, vit: ViTConfig, panel: GenePanel | None, text_dim: int = 0
) -> objectives.Objective:
    """The objective that the config names, on tiles or on cached embeddings."""
    options = objective_options(config, text_dim)
    name = options.pop("name")
    options.pop("text_dim", 0)
    spec = objectives.Spec(
        vit,
        n_genes=len(panel.genes) if panel else 0,
        text_dim=text_dim,
        steps=config.optim.steps,
        cached=config.adapt.mode == "towers",
    )
    return objectives.build(name, spec, **options)


def objective_options(config: ConfigDict, text_dim: int = 0) -> dict[str, Any]:
    """The section `objective`, with the width of the text where there is some."""
    options = config.objective.to_dict()
    return options | {"text_dim": text_dim} if text_dim else options


def text_dim_of(fixed: dict[str, Any]) -> int:
    """The width of a run's text embeddings, 0 without."""
    return (fixed.get("text") or {}).get("dimensions", 0)


def example_batch(
    config: ConfigDict,
    objective: objectives.Objective,
    vit: ViTConfig,
    panel: GenePanel | None,
    text_dim: int = 0,
) -> dict[str, jax.ShapeDtypeStruct]:
    """Shapes of a global batch, for initialisation."""
    b, k, px = config.data.batch, config.data.tiles, config.data.image_px
    crops, genes = config.multicrop, len(panel.genes) if panel else 0
    shapes = {
        "image": ((b, k, px, px, 3), "uint8"),
        "embedding": ((b, k, vit.embed_dim), "float32"),
        "crops_global": ((b, crops.global_crops, px, px, 3), "uint8"),
        "crops_local": (
            (b, crops.local_crops, crops.local_px, crops.local_px, 3),
            "uint8",
        ),
        "expression": ((b, genes), "float32"),
        "counts": ((b, genes), "float32"),
        "library": ((b,), "float32"),
        "text": ((b, text_dim), "float32"),
        "has_expression": ((b,), "bool"),
        "has_text": ((b,), "bool"),
        "mask": ((b,), "bool"),
        "pair_id": ((b,), "int32"),
    }
    wanted = dict.fromkeys([*objective.requires, "mask", "pair_id"])
    return {key: jax.ShapeDtypeStruct(*shapes[key]) for key in wanted}


def make_finish(
    vit: ViTConfig, init: Model | None
) -> Callable[[dict[str, Any]], tuple[ViTConfig, dict[str, Any]]]:
    """Returns exported parameters -> (encoder's config, all in the plain form)."""

    def finish(params: dict[str, Any]) -> tuple[ViTConfig, dict[str, Any]]:
        if "vit" not in params:  # it was frozen, and its embeddings were read
            return init.vit, {**params, "vit": init.params["vit"]}
        plain, encoder = to_plain(vit, params["vit"])
        return plain, {**params, "vit": encoder}

    return finish


def model_meta(
    config: ConfigDict,
    fixed: dict[str, Any],
    study: Study,
    samples: Samples,
    init: Model | None,
) -> dict[str, Any]:
    """What travels in model.safetensors beside the parameters."""
    rows = study.samples.iloc[samples.row]
    seen = {
        "study": study.name,
        "fingerprint": study.fingerprint,
        "synthetic": study.synthetic,
        "objective": config.objective.name,
        "patients": sorted(set(rows["patient_id"].astype(str))),
        "slides": samples.slides(study),
        "sites": sorted(set(rows["site"].astype(str))),
    }
    earlier = init.meta["audit"] if init else []
    before = init.meta if init else {}
    inherited = {key: before[key] for key in INHERITED if key in before}
    return inherited | {
        "name": config.name,
        "objective": objective_options(config, text_dim_of(fixed)),
        "image_px": config.data.image_px,
        # What an image has to be like to be shown to the model (predict/).
        "tiles": {"px": study.tile_px, "mpp": study.mpp},
        "panel": fixed["panel"],
        "text": fixed.get("text"),
        "versions": fixed["versions"],
        "config": fixed["config"],
        "init": config.init,
        "seed": config.seed,
        "audit": [*earlier, seen],
    }
