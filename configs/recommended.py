"""Fine-tune a public foundation model on spots: the recipe with the best evidence here.

    pathjax import dinov2-vits14 --weights dinov2-small.safetensors --image-px 112 --out base
    pathjax train --config=configs/recommended.py --workdir=runs/tuned \
        --config.init=base --config.study=STUDY --config.split=SPLIT

Contrast with LoRA of rank 8, as `launch/real.sh` trains it on her2st with DINOv2-S: no
other recipe there gains more than its interval, and no task falls beyond its own
(docs/recipes.md). It is for some hundreds of spots; for TCGA's patients see
configs/tcga.py. `smoke` takes a few steps.
"""

from ml_collections import ConfigDict
from pathjax.configs import adapt

from pathjax.config import parse_arg


def get_config(arg: str | None = None) -> ConfigDict:
    """`smoke`, or nothing."""
    chosen = parse_arg(arg, smoke=False)
    config = adapt.get_config("contrastive,adapt=lora,bf16")
    config.name = "recommended"
    config.data.update({"image_px": 112, "genes": 200, "stain": 0.0})
    config.data.pair_by = "sample_id"
    config.optim.update({"steps": 100, "warmup": 10, "lr": 5e-4})
    if chosen.smoke:
        config.data.update({"batch": 8, "genes": 50})
        config.optim.update({"steps": 4, "warmup": 1})
    return config
