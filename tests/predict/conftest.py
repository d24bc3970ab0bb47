"""Small models with random parameters: what they predict is computed again in NumPy."""

import copy
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from pathjax import objectives
from pathjax.data.expression import fit_panel
from pathjax.models.model_file import Model, save_model
from pathjax.models.variants import vit_config

VIT = vit_config("Xs/8", width=24, depth=1, mlp_dim=32, image_px=16)
SMALL = {"contrastive": {"embed_dim": 8, "widths": (16,)}}


@pytest.fixture(scope="session")
def make_model(tiny_study):
    """make(objective, **options) -> Model of the small study's patients P00 to P07."""
    ids = [f"P{i:02d}" for i in range(8)]
    panel = fit_panel(tiny_study.expression(), ids, 6)

    @functools.cache
    def made(name, **options):
        options = SMALL.get(name, {}) | options
        meta = {
            "name": f"tiny-{name}",
            "objective": {"name": name} | options,
            "image_px": 16,
            "tiles": {"px": 32, "mpp": 1.0},
            "panel": panel.to_json(),
            "audit": [
                {
                    "study": "tiny",
                    "fingerprint": tiny_study.fingerprint,
                    "patients": ids,
                    "slides": [f"{one}{side}" for one in ids for side in "ab"],
                }
            ],
        }
        objective = objectives.of_model(Model({}, VIT, meta))
        batch = {
            "image": jnp.zeros((1, 1, 16, 16, 3), jnp.uint8),
            "expression": jnp.zeros((1, len(panel.genes))),
        }
        params, _ = jax.jit(objective.init)(jax.random.key(1), batch)
        params = jax.tree.map(np.array, params)
        if "head" in params:  # as small as it starts, tiles would hardly differ
            params["head"]["out"]["kernel"] = 30 * params["head"]["out"]["kernel"]
        return Model(params, VIT, meta)

    # Copies: a test may change what a checkpoint says.
    return lambda name="regression", **options: copy.deepcopy(made(name, **options))


@pytest.fixture(scope="session")
def checkpoints(make_model, tmp_path_factory):
    """Folders of a regression and a contrastive run, by name."""
    root = tmp_path_factory.mktemp("runs")
    for name in ("regression", "contrastive"):
        save_model(root / name, make_model(name))
    return {name: root / name for name in ("regression", "contrastive")}
