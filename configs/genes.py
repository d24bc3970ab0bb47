"""Pre-train the gene tower `vae` on the expression of a study alone; reads no image.

    pathjax train --config=configs/genes.py --workdir=runs/genes \
        --config.study=STUDY --config.split=SPLIT
    pathjax train --config=configs/adapt.py:contrastive --workdir=runs/uni-vae \
        --config.init=uni --config.study=STUDY --config.split=SPLIT \
        --config.objective.expression_tower.name=vae \
        --config.objective.expression_tower.init=runs/genes

The study needs raw counts. On the same fold and `data.genes` the panel is the same; else
name the genes by `data.gene_list`. A covariate such as the site is told to the decoder
by `--config.objective.covariate=site`.
"""

from ml_collections import ConfigDict

from pathjax.config import base_config, parse_arg


def get_config(arg: str | None = None) -> ConfigDict:
    """`smoke`."""
    chosen = parse_arg(arg, smoke=False)
    config = base_config()
    config.name = "genes"
    config.objective = ConfigDict({"name": "gene_vae"})
    config.data.update({"batch": 128, "genes": 2000})
    config.optim.update(
        {"steps": 2000, "warmup": 100, "lr": 1e-3, "weight_decay": 1e-4}
    )
    if chosen.smoke:
        config.data.update({"batch": 8, "genes": 50})
        config.optim.update({"steps": 4, "warmup": 1})
        config.checkpoint.every = 2
    return config
