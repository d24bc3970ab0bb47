"""model.safetensors: the parameters of a run and their metadata.

Written by `Exporter` when a validation improves, or at the end of a run without one.
"""

import dataclasses
from pathlib import Path
from typing import Any

from pathjax.data.samples import Samples
from pathjax.models.blocks import to_plain
from pathjax.models.model_file import Model, save_model
from pathjax.models.variants import ViTConfig
from pathjax.objectives import Objective, Params
from pathjax.parallel.collective import is_first, to_host
from pathjax.train.inputs import Inputs
from pathjax.train.optim import merge
from pathjax.train.state import TrainState

# Metadata of a public model that all models tuned from it inherit.
INHERITED = ("foundation", "preprocess")


@dataclasses.dataclass(frozen=True)
class Exporter:
    """Writes a state's parameters as `WORKDIR/model.safetensors`.

    Attributes:
      workdir: The run's folder.
      objective: Set up for the run.
      init: The model that the run started from, or None.
      meta: From `model_meta`.
    """

    workdir: Path
    objective: Objective
    init: Model | None
    meta: dict[str, Any]

    def __call__(self, state: TrainState, step: int) -> None:
        """Every process calls it; the first one writes."""
        params = merge(state.params, state.frozen)
        host = to_host(self.objective.export(params, state.extra))
        if is_first():
            vit: Any = None
            if self.objective.views is not None:  # else it has no image encoder
                vit, host = finish(self.objective.spec.vit, host, self.init)
            save_model(self.workdir, Model(host, vit, self.meta | {"step": step}))


def finish(
    vit: ViTConfig, params: Params, init: Model | None
) -> tuple[ViTConfig, Params]:
    """The encoder's config and all parameters in the plain form of model files.

    A frozen encoder, whose cached embeddings were read, is taken from `init`.
    """
    if "vit" not in params:
        assert init is not None  # a frozen encoder comes from a model
        return init.vit, {**params, "vit": init.params["vit"]}
    plain, encoder = to_plain(vit, params["vit"])
    return plain, {**params, "vit": encoder}


def model_meta(
    inputs: Inputs, samples: Samples, held_out: Samples | None, record: dict[str, Any]
) -> dict[str, Any]:
    """Metadata of model.safetensors.

    Args:
      inputs: Of the run.
      samples: The training samples.
      held_out: The validation samples, by which the model is chosen.
      record: As in checkpoints.
    """
    config, study = inputs.config, inputs.study
    rows = study.samples.iloc[samples.row]
    selection: list[str] = []
    if held_out and config.eval.every:
        chosen_on = study.samples.iloc[held_out.row]
        selection = sorted(set(chosen_on["patient_id"].astype(str)))
    seen = {
        "study": study.name,
        "fingerprint": study.fingerprint,
        "synthetic": study.synthetic,
        "objective": config.objective.name,
        "patients": sorted(set(rows["patient_id"].astype(str))),
        "slides": samples.slides(study),
        "sites": sorted(set(rows["site"].astype(str))),
        "selection": selection,
    }
    before = inputs.init.meta if inputs.init else {"audit": []}
    lineage = list(before.get("lineage", ()))
    if inputs.init:
        # The model that this one was tuned from; the first `stages` entries of `audit`
        # list the patients that it has seen.
        parent = {"name": before.get("name", ""), "sha256": inputs.init_sha256}
        lineage.append(parent | {"stages": len(before["audit"])})
    objective = dict(record["config"]["objective"])
    if inputs.objective.spec.text_dim:
        objective["text_dim"] = inputs.objective.spec.text_dim
    return {key: before[key] for key in INHERITED if key in before} | {
        "name": config.name,
        "objective": objective,
        "image_px": config.data.image_px,
        # The form of input images that predict/ expects.
        "tiles": {"px": study.tile_px, "mpp": study.mpp},
        "panel": record["panel"],
        "text": record["text"],
        **({"resources": record["resources"]} if record["resources"] else {}),
        "files": record["files"],
        **({"code": record["code"]} if record["code"] else {}),
        "versions": record["versions"],
        "config": record["config"],
        "init": config.init,
        "seed": config.seed,
        "audit": [
            *before["audit"],
            *inputs.objective.spec.resources.get("audit", ()),
            seen,
        ],
        "lineage": lineage,
    }
