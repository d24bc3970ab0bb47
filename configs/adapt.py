"""Adapt a public foundation model to a study with expression.

    pathjax import uni --weights UNI/pytorch_model.bin --out uni
    pathjax train --config=configs/adapt.py:contrastive --workdir=runs/uni-lora \
        --config.init=uni --config.study=STUDY --config.split=SPLIT
    pathjax export runs/uni-lora --format timm --out uni-lora-timm

The argument chooses the objective (`contrastive`, `regression` or `joint`, which is both
and reconstruction: docs/objectives.md) and what is trained (`adapt=full`, `last`, `lora`
or `towers`); `bf16` computes in bfloat16, `smoke` takes a few steps. The encoder, its
input size and its normalisation are those of the model given as `init`. Rank, learning
rates and decay follow what is published for fine-tuning pathology models on spatial
transcriptomics (LoRA of rank 8 at 1e-4).
"""

from ml_collections import ConfigDict

from pathjax.config import ConfigError, base_config, parse_arg
from pathjax.models.adaptation import MODES


def get_config(arg: str | None = None) -> ConfigDict:
    """`contrastive`, `regression` or `joint`; `adapt=` full, last, lora or towers; `bf16`;
    `smoke`.
    """
    chosen = parse_arg(arg, mode="contrastive", adapt="lora", bf16=False, smoke=False)
    known = ("contrastive", "regression", "joint")
    if chosen.mode not in known or chosen.adapt not in MODES:
        raise ConfigError(
            f"configs/adapt.py has no {chosen.mode!r} with adapt={chosen.adapt!r}: "
            f"expected {', '.join(known)}, and adapt one of {', '.join(MODES)}"
        )
    config = base_config()
    config.name = f"adapt-{chosen.mode}-{chosen.adapt}"
    config.model = ConfigDict({"variant": ""})  # the encoder of `init`
    config.adapt.mode = chosen.adapt
    config.objective.name = chosen.mode
    config.data.update(
        {"image_px": 224, "batch": 64, "genes": 2000, "stain": 0.1, "threads": 2}
    )
    config.optim.update({"steps": 2000, "warmup": 100, "lr": 1e-4, "weight_decay": 0.2})
    if chosen.adapt == "full":
        # All of a large model, on a small study: each earlier block moves less.
        config.optim.update({"layer_decay": 0.7, "vit_lr": 0.3})
        config.model.drop_path = 0.1
    if chosen.mode != "regression":
        config.objective.update({"dropout": 0.3, "gene_dropout": 0.3})
    if chosen.mode == "joint":
        config.objective.reconstruction = 0.5
    if chosen.bf16:
        config.model.dtype = "bfloat16"
    if chosen.smoke:
        config.data.update({"batch": 8, "genes": 50})
        config.optim.update({"steps": 4, "warmup": 1})
        config.checkpoint.every = 2
    return config
