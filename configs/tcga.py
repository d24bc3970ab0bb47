"""TCGA: teach a foundation model the bulk RNA of patients, from K tiles of each.

    pathjax tile --slides SVS --out tcga-tiles
    pathjax data tcga-rna --source GDC --out rna.h5ad
    pathjax data tcga --slides tcga-tiles --rna rna.h5ad --labels types.csv \
        --out tcga-study
    pathjax import uni --weights UNI/pytorch_model.bin --out uni
    pathjax train --config=configs/tcga.py:contrastive,gpu --workdir=runs/tcga \
        --config.init=uni

`multimodal` is contrastive with the pathology reports as a third tower; patients may
lack RNA or a report (docs/multimodal.md):

    pathjax data reports tcga-study --reports TCGA_Reports.csv
    pathjax text embed tcga-study --backend minilm --out tcga-text.h5

The argument chooses the objective, how much of the encoder is trained (`adapt=full`,
`last` or `lora`) and the machine: `gpu` is one with 80 GB (the default), `pod` is laid
out for 64 chips and up, and `smoke` takes a few steps of a tiny encoder on any study
with the split "cohort". The encoder is that of the model given as `init`;
`variant=S/16` starts from nothing instead. Trained on fold `train` of "cohort", which
shares no patient, and by default no site, with the folds that the tasks of TCGA are
scored on.
"""

from ml_collections import ConfigDict

from pathjax.config import ConfigError, base_config, parse_arg
from pathjax.models.adaptation import MODES


def get_config(arg: str | None = None) -> ConfigDict:
    """`contrastive`, `multimodal` or `regression`; `gpu`, `pod` or `smoke`; `adapt=` full,
    last, lora or towers; `variant=` such as S/16.
    """
    chosen = parse_arg(
        arg,
        mode="contrastive",
        gpu=False,
        pod=False,
        smoke=False,
        adapt="full",
        variant="",
    )
    contrastive = chosen.mode in ("contrastive", "multimodal")
    known = contrastive or chosen.mode == "regression"
    if not known or chosen.adapt not in MODES:
        raise ConfigError(
            f"configs/tcga.py has no {chosen.mode!r} with adapt={chosen.adapt!r}: "
            "expected contrastive, multimodal or regression, and adapt one of "
            f"{', '.join(MODES)}"
        )
    if chosen.gpu + chosen.pod + chosen.smoke > 1:
        raise ConfigError("configs/tcga.py: gpu, pod and smoke are one or the other")
    config = base_config()
    config.name = f"tcga-{chosen.mode}-{chosen.adapt}"
    config.study, config.split, config.val_fold = "tcga-study", "cohort", "val"
    config.model = ConfigDict({"variant": chosen.variant, "dtype": "bfloat16"})
    config.adapt.mode = chosen.adapt
    config.objective.name = "contrastive" if contrastive else chosen.mode
    # Some 4,500 patients train. RNA of a patient without tiles is of no use, nor are
    # tiles without RNA: those are there for labels (--keep-unpaired).
    config.data.update(
        {
            "image_px": 224,
            "genes": 2000,
            "drop_unpaired": True,
            "stain": 0.1,
            "threads": 8,
        }
    )
    config.optim.update({"lr": 1e-4, "weight_decay": 0.2})
    config.eval.every = 100
    if chosen.adapt == "full":
        # Each earlier block moves less, the encoder less than the new heads.
        config.optim.update({"layer_decay": 0.7, "vit_lr": 0.3})
        config.model.drop_path = 0.1
    if chosen.mode == "multimodal":
        # A patient with tiles and either of RNA and report has something to teach.
        config.data.update({"text": "tcga-text.h5", "drop_unpaired": False})
    if contrastive:
        # 2,000 genes tell 4,500 patients apart by heart unless they are blurred.
        config.objective.update({"dropout": 0.3, "gene_dropout": 0.3})
    if chosen.pod:
        # 8,192 tiles a step; parameters and moments over 8 chips, a block's input kept.
        config.data.update({"batch": 512, "tiles": 16})
        config.mesh.fsdp = 8
        config.model.update({"remat": True, "scan": True})
        config.optim.update({"steps": 2000, "warmup": 200, "lr": 2e-4})
    elif chosen.smoke:
        if not chosen.variant:
            config.model.update({"variant": "Mi/8", "width": 48, "depth": 2})
            config.model.update({"mlp_dim": 96})
        config.model.dtype = "float32"
        config.data.update({"batch": 8, "tiles": 2, "image_px": 32, "genes": 8})
        config.data.threads = 2
        config.optim.update({"steps": 4, "warmup": 1, "lr": 1e-3})
        config.checkpoint.every = config.eval.every = 2
        if contrastive:
            config.objective.widths = (32,)
    else:
        # 1,024 tiles a step, in 8 parts through the encoder.
        config.data.update({"batch": 128, "tiles": 8})
        config.model.remat = True
        config.optim.update({"steps": 4000, "warmup": 200, "accumulate": 8})
    return config
