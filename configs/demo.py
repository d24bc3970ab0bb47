"""The demo's training runs on its synthetic study; minutes on two CPU cores.

    pathjax data demo --out runs/demo/study
    pathjax train --config=configs/demo.py:pretrain --workdir=runs/demo/base \
        --config.study=runs/demo/study
    pathjax train --config=configs/demo.py:contrastive --workdir=runs/demo/c0 \
        --config.study=runs/demo/study --config.init=runs/demo/base
    pathjax train --config=configs/demo.py:regression ...

`pathjax demo --full` runs all of them; docs/results.md has the expected numbers. `pathjax
demo` uses the shorter runs of `:MODE,quick`. `:MODE,smoke` takes seconds. `joint` has
the losses of contrastive and regression together (docs/objectives.md). `multimodal` is
contrastive with the reports as a third tower (docs/multimodal.md). `continue` goes on with
pretrain's self-supervision from `init`, for as many steps as the others, as a control:

    pathjax text embed runs/demo/study --backend tfidf --fit-on cohort:finetune \
        --out runs/demo/text.h5
    pathjax train --config=configs/demo.py:multimodal --workdir=runs/demo/m0 ...
"""

from ml_collections import ConfigDict

from pathjax.config import ConfigError, base_config, parse_arg


def get_config(arg: str | None = None) -> ConfigDict:
    """`pretrain`, `continue`, `contrastive`, `multimodal`, `regression` or `joint`;
    `quick` or `smoke`.
    """
    chosen = parse_arg(arg, mode="contrastive", quick=False, smoke=False)
    config = base_config()
    config.name = f"demo-{chosen.mode}"
    config.study = "runs/demo/study"
    config.split = "cohort"
    config.fold = "finetune"
    config.model.variant = "Xs/8"
    config.model.drop_path = 0.1
    config.checkpoint.every = 100

    if chosen.mode in ("pretrain", "continue"):
        head = {"prototypes": 512, "hidden": 512, "bottleneck": 128}
        config.objective = ConfigDict({"name": "dino", **head})
        config.data.update({"unit": "tile", "batch": 48})
        config.multicrop.update({"local_crops": 2, "local_px": 32})
        steps = 240 if chosen.mode == "pretrain" else 140
        config.optim.update({"steps": steps, "warmup": steps // 10, "lr": 1e-3})
    elif chosen.mode in ("contrastive", "multimodal", "regression", "joint"):
        contrastive = chosen.mode != "regression"
        multimodal = chosen.mode == "multimodal"
        config.objective.name = "contrastive" if multimodal else chosen.mode
        config.val_fold = "finetune_val"
        config.data.update({"batch": 48, "tiles": 3, "genes": 200, "stain": 0.1})
        config.optim.update(
            {"steps": 140, "warmup": 20, "lr": 1e-3, "weight_decay": 0.2}
        )
        if contrastive:
            # Without dropout the gene MLP memorises the patients.
            config.objective.update(
                {"widths": (128,), "dropout": 0.3, "gene_dropout": 0.3}
            )
        if chosen.mode == "joint":
            config.objective.reconstruction = 0.5
        if multimodal:
            config.data.text = "runs/demo/text.h5"
        config.eval.every = 40
    else:
        raise ConfigError(
            f"unknown mode {chosen.mode!r} for configs/demo.py: expected pretrain, "
            "continue, contrastive, multimodal, regression or joint"
        )
    if chosen.quick:
        # Chosen on synthetic cohorts of other seeds than the demo's.
        steps = 50 if chosen.mode == "pretrain" else 100
        config.optim.update({"steps": steps, "warmup": steps // 10})
        if config.val_fold:
            config.data.tiles = 2
    if chosen.smoke:
        config.model.depth = 2
        config.data.batch = 8
        config.optim.update({"steps": 6, "warmup": 2})
        config.checkpoint.every = 3
        config.eval.every = 3 if config.val_fold else 0
    return config
