"""Every shipped config loads, validates and builds its objective without memory."""

import re
from dataclasses import replace
from pathlib import Path

import jax
import pytest

from pathjax.config import ConfigError, load
from pathjax.models.adaptation import MODES
from pathjax.models.model_file import Model
from pathjax.models.vit import vit_config
from pathjax.train.inputs import make_objective
from pathjax.train.program import example_batch

CONFIGS = [
    f"configs/{name}.py:{mode}{smoke}"
    for name in ("demo", "her2st", "tcga_regions")
    for mode in ("pretrain", "contrastive", "regression")
    for smoke in ("", ",smoke")
] + [
    "configs/her2st.py:contrastive,dev",
    "configs/her2st.py:joint,dev",
    "configs/demo.py:joint,smoke",
    "configs/demo.py:multimodal",
    "configs/demo.py:multimodal,smoke",
    "configs/genes.py",
    "configs/genes.py:smoke",
]


RECOMMENDED = ["configs/recommended.py", "configs/recommended.py:smoke"]
ADAPT = RECOMMENDED + [
    f"configs/adapt.py:{mode},adapt={adapt}{more}"
    for mode in ("contrastive", "regression", "joint")
    for adapt in MODES
    for more in ("", ",smoke,bf16")
]
TCGA = [
    f"configs/tcga.py:{mode},{more}"
    for mode in ("contrastive", "multimodal", "regression")
    for more in ("gpu", "pod", "adapt=lora", "smoke", "gpu,variant=S/16")
]
FROM_NOTHING = [path for path in TCGA if "variant" in path or "smoke" in path]
SET = {"study": "study", "split": "main", "init": "uni"}


@pytest.mark.parametrize("path", [*CONFIGS, *ADAPT, *TCGA])
def test_shipped_config(path):
    needs_init = path in ADAPT or path in TCGA and path not in FROM_NOTHING
    genes = {"study": "study", "split": "main"} if "genes" in path else None
    config = load(path, SET if needs_init else genes)
    init = Model({}, vit_config("L/16", layerscale=1e-5), {}) if config.init else None
    objective = make_objective(
        config,
        config.encoder(init).replace(scan=True),  # one block is traced, not 24
        n_genes=config.data.genes,
        text_dim=8 if config.data.text else 0,
    )
    example = example_batch(config, objective)
    assert ("text" in example) == ("multimodal" in path)
    key = jax.eval_shape(lambda: jax.random.key(0))
    params, _ = jax.eval_shape(objective.init, key, example)
    reads_images = genes is None
    assert ("vit" in params) == (reads_images and config.adapt.mode != "towers")
    assert (config.views(objective) is not None) == reads_images
    assert config.data.batch % 8 == 0  # a pod's worth of devices, and these tests'


def test_the_adapt_config_wants_a_model_and_known_words():
    with pytest.raises(ConfigError, match="set init"):
        load("configs/adapt.py:contrastive", {**SET, "init": ""})
    with pytest.raises(ConfigError, match="adapt='adapters'"):
        load("configs/adapt.py:contrastive,adapt=adapters", SET)


def test_the_recommended_recipe_is_the_one_that_was_measured():
    """`launch/real.sh` with contrast and LoRA, of which docs/results.md has the table."""
    script = (Path(__file__).parents[1] / "launch" / "real.sh").read_text()
    flags = dict(re.findall(r'--config\.(\S+?)="?([^\s"]+)', script))
    flags |= {"init": "uni", "study": "study", "seed": "0", "data.image_px": "112"}
    flags |= {"data.batch": "64", "optim.steps": "100", "split": "main"}
    flags |= {"anchor.weight": "0", "data.pairing": "own"}  # -anchor, -shuffled
    measured = load("configs/adapt.py:contrastive,adapt=lora,bf16", flags)
    recommended = load("configs/recommended.py", SET | {"init": "uni"})
    assert replace(measured, name="recommended") == recommended
    assert load("configs/recommended.py:smoke", SET).optim.steps == 4


def test_the_tcga_config_wants_one_machine_and_known_words():
    with pytest.raises(ConfigError, match="one or the other"):
        load("configs/tcga.py:contrastive,pod,smoke", SET)
    with pytest.raises(ConfigError, match="no 'dino'"):
        load("configs/tcga.py:dino", SET)
    with pytest.raises(ConfigError, match="init is not set"):
        load("configs/tcga.py:regression", SET | {"init": ""})
