"""Regions of 30 TCGA slides with bulk RNA: the path of configs/tcga.py on two cores.

    launch/tcga_regions.sh DATA runs/tcga-regions

A small ViT with patches of 32 px is pre-trained (DINO) on the tiles of the training
patients and tuned on their RNA, for a fixed number of steps: some ten patients are
left, too few to stop by. It shows that every step works on real files, not what TCGA
can teach (docs/tcga.md).
"""

from ml_collections import ConfigDict

from pathjax.config import ConfigError, base_config, parse_arg


def get_config(arg: str | None = None) -> ConfigDict:
    """`pretrain`, `contrastive` or `regression`; `smoke`."""
    chosen = parse_arg(arg, mode="contrastive", smoke=False)
    config = base_config()
    config.name = f"tcga-regions-{chosen.mode}"
    config.study, config.split = "tcga-study", "cohort"
    config.data.image_px = 224
    # As many tokens as 112 px with patches of 16, and all of a tile is seen.
    config.model.update({"variant": "Ti6/16", "patch": 32, "drop_path": 0.1})
    if chosen.mode == "pretrain":
        head = {"prototypes": 512, "hidden": 256, "bottleneck": 64}
        config.objective = ConfigDict({"name": "dino", **head})
        config.data.update({"unit": "tile", "batch": 16})
        config.multicrop.update({"local_crops": 2, "local_px": 96})
        config.optim.update({"steps": 100, "warmup": 10, "lr": 1e-3})
    elif chosen.mode in ("contrastive", "regression"):
        config.objective.name = chosen.mode
        config.data.update(
            {"batch": 8, "tiles": 2, "genes": 200, "drop_unpaired": True, "stain": 0.1}
        )
        config.optim.update(
            {"steps": 120, "warmup": 12, "lr": 3e-4, "weight_decay": 0.2}
        )
        if chosen.mode == "contrastive":
            blur = {"widths": (128,), "dropout": 0.3, "gene_dropout": 0.3}
            config.objective.update(blur)
    else:
        raise ConfigError(
            f"configs/tcga_regions.py has no mode {chosen.mode!r}: pretrain, "
            "contrastive or regression"
        )
    if chosen.smoke:
        config.model.update({"width": 48, "depth": 2, "mlp_dim": 96})
        config.data.batch = 8
        config.optim.update({"steps": 4, "warmup": 1})
        config.checkpoint.every = 2
    return config
