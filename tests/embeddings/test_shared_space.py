"""Who has a place in the space that images and expression share."""

from types import SimpleNamespace

import jax.numpy as jnp
import numpy as np
from partial import withhold

from pathjax import objectives
from pathjax.data.expression import fit_panel
from pathjax.data.study import Study
from pathjax.embeddings.shared_space import joint_embeddings


def test_a_sample_without_a_gene_of_the_model_has_no_place(tiny_study, monkeypatch):
    """Its zeros were embedded like measured values, and others retrieved by them."""
    expression = tiny_study.expression()
    ids, genes = list(expression.obs_names), list(expression.var_names)
    panel = fit_panel(expression, ids, genes[:4])
    made = withhold(expression, ids[:2], genes[:4])
    monkeypatch.setattr(Study, "expression", lambda self: made)
    objective = SimpleNamespace(
        predict=lambda params, batch: {
            "z_image": batch["image"].mean(axis=(1, 2, 3)).astype(jnp.float32),
            "z_expression": batch.get("expression", jnp.zeros((1, 4)))[:, :3],
        },
        sample_vectors=lambda study: None,
    )
    monkeypatch.setattr(objectives, "of_model", lambda *_, **__: objective)
    model = SimpleNamespace(meta={"panel": panel.to_json(), "image_px": 16}, params={})
    tiles, samples = joint_embeddings(model, tiny_study)
    assert tiles.shape == (len(tiny_study), 3)
    order = tiny_study.samples["sample_id"].tolist()
    absent = [order[i] for i in np.flatnonzero(np.isnan(samples).any(axis=1))]
    assert sorted(absent) == sorted(ids[:2])
    scores, _ = panel.scores(made, order)
    there = np.isfinite(samples).all(axis=1)
    np.testing.assert_array_equal(samples[there], scores[there, :3])
