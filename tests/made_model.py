"""Small models with random parameters, for a study, as a training run would write them."""

import jax
import jax.numpy as jnp
import numpy as np

from pathjax import objectives
from pathjax.data.expression import fit_panel
from pathjax.models.model_file import Model
from pathjax.models.variants import vit_config

VIT = vit_config("Xs/8", width=24, depth=1, mlp_dim=32, image_px=16)
TOWERS = {"embed_dim": 8, "widths": (16,)}
SMALL = {"contrastive": TOWERS, "joint": TOWERS}


def made_model(study, name: str, **options) -> Model:
    """A model of 6 genes "trained" on patients P00 to P07 of the small study."""
    ids = [f"P{i:02d}" for i in range(8)]
    panel = fit_panel(study.expression(), ids, 6)
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
                "fingerprint": study.fingerprint,
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
