"""her2st: base, regression and contrastive on patient C's sections C2 to C4.

    pathjax data her2st --source her2st --out her2st-study --tile-px 128
    pathjax data her2st-tissue --source her2st --out her2st-tissue
    launch/her2st.sh her2st-study runs/her2st her2st-tissue

The base is pre-trained (DINO) on all tissue of the training sections, at several
magnifications, never on a test section. Fine-tuning runs for a fixed number of steps on
the spots of C2 to C4; `:dev` trains on C2 and C3 alone, so that hyper-parameters are
chosen on C4. Expected numbers are in docs/results.md.
"""

from ml_collections import ConfigDict

from pathjax.config import ConfigError, base_config, parse_arg


def get_config(arg: str | None = None) -> ConfigDict:
    """`pretrain`, `contrastive`, `regression` or `joint`; `dev`; `smoke`."""
    chosen = parse_arg(arg, mode="contrastive", dev=False, smoke=False)
    config = base_config()
    config.name = f"her2st-{chosen.mode}"
    config.study = "her2st-study"
    config.split = "c_sections_dev" if chosen.dev else "c_sections"
    config.data.image_px = 112
    config.model.update({"variant": "Ti6/16", "drop_path": 0.1})
    config.checkpoint.every = 100

    if chosen.mode == "pretrain":
        config.study, config.split = "her2st-tissue", "all"
        head = {"prototypes": 1024, "hidden": 512, "bottleneck": 128}
        config.objective = ConfigDict({"name": "dino", **head})
        config.data.update({"unit": "tile", "batch": 48})
        config.multicrop.update(
            {
                "local_crops": 2,
                "local_px": 48,
                "global_scale": (0.3, 1.0),
                "local_scale": (0.08, 0.3),
            }
        )
        config.optim.update({"steps": 400, "warmup": 40, "lr": 1e-3})
    elif chosen.mode in ("contrastive", "regression", "joint"):
        config.objective.name = chosen.mode
        config.data.update({"batch": 64, "genes": 200, "pair_by": "sample_id"})
        # Chosen on C4 (`:dev`): within a patient the stain itself tells of expression,
        # and a jitter of it unteaches that.
        config.data.stain = 0.0
        config.optim.update(
            {"steps": 240, "warmup": 24, "lr": 1e-3, "weight_decay": 0.2}
        )
        if chosen.mode != "regression":
            blur = {"widths": (256,), "dropout": 0.3, "gene_dropout": 0.3}
            config.objective.update(blur)
        if chosen.mode == "joint":
            config.objective.reconstruction = 0.5
    else:
        raise ConfigError(
            f"configs/her2st.py has no mode {chosen.mode!r}: expected pretrain, "
            "contrastive, regression or joint"
        )
    if chosen.smoke:
        config.model.update({"width": 96, "depth": 2, "mlp_dim": 192})
        config.data.batch = 8
        config.optim.update({"steps": 4, "warmup": 1})
    return config
