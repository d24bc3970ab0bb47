"""Every shipped config loads, validates and builds its objective without memory."""

import jax
import pytest

from pathjax.config import load
from pathjax.data.expression import GenePanel
from pathjax.models.vit import vit_config
from pathjax.train import build_objective, example_batch, view_options

CONFIGS = [
    f"configs/{name}.py:{mode}{smoke}"
    for name in ("demo", "her2st")
    for mode in ("pretrain", "contrastive", "regression")
    for smoke in ("", ",smoke")
] + ["configs/her2st.py:contrastive,dev"]


@pytest.mark.parametrize("path", CONFIGS)
def test_shipped_config(path):
    config = load(path)
    overrides = config.model.to_dict()
    vit = vit_config(
        overrides.pop("variant"), image_px=config.data.image_px, **overrides
    )
    panel = None
    if config.objective.name != "dino":
        genes = tuple(map(str, range(config.data.genes)))
        panel = GenePanel(genes, None, None, 1)
    objective = build_objective(config, vit, panel)
    example = example_batch(config, objective, panel)
    key = jax.eval_shape(lambda: jax.random.key(0))
    params, _ = jax.eval_shape(objective.init, key, example)
    assert "vit" in params
    assert view_options(config) is not None
    assert config.data.batch % 8 == 0  # a pod's worth of devices, and these tests'
