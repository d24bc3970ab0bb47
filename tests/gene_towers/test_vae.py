"""The gene tower `vae`: pre-trained on expression alone, then frozen or tuned."""

import json

import jax
import numpy as np
import pytest
from made_model import made_model
from tiny_study import config_for

from pathjax.cli import main
from pathjax.config import ConfigError, RunConfig
from pathjax.data.expression import fit_panel
from pathjax.gene_towers import TowerError
from pathjax.gene_towers.vae import VAE
from pathjax.models.model_file import ModelFileError, load_model, save_model
from pathjax.train.telemetry.metric_writer import read_metrics
from pathjax.train.trainer import train


@pytest.fixture(scope="module")
def genes(tiny_study, tmp_path_factory):
    """A run of the shipped config's objective, on 12 of the 20 genes."""
    root = tmp_path_factory.mktemp("genes")
    names = list(tiny_study.expression().var_names)[:12][::-1]
    (root / "list.txt").write_text("\n".join(names))
    values = {"objective.name": "gene_vae", "objective.latent_dim": 4}
    values |= {"objective.widths": (16, 8), "objective.covariate": "group"}
    values |= {"data.gene_list": str(root / "list.txt"), "val_fold": "val"}
    values |= {"eval.every": 3, "fold": "val", "val_fold": "test"}
    train(config_for(tiny_study, **values), root / "run")
    return root / "run"


class Stopped(Exception):
    pass


@pytest.mark.slow
def test_its_run_resumes_bit_for_bit(genes, tiny_study, tmp_path):
    config = json.loads((genes / "config.json").read_text())["config"]
    config = RunConfig.from_dict(config)

    def stop(done, note=""):
        if done == 5:
            raise Stopped

    with pytest.raises(Stopped):
        train(config, tmp_path / "run", stop)
    train(config, tmp_path / "run")
    whole, parts = (load_model(p, encoder=False) for p in (genes, tmp_path / "run"))
    jax.tree.map(np.testing.assert_array_equal, whole.params, parts.params)
    rows = read_metrics(tmp_path / "run" / "metrics.jsonl")
    assert np.isfinite([row["val/nll"] for row in rows if "val/nll" in row]).all()


def test_its_model_has_no_image_encoder(genes, tiny_study, tmp_path, capsys):
    model = load_model(genes, encoder=False)
    assert model.vit is None and set(model.params) == {"encoder", "decoder"}
    with pytest.raises(ModelFileError, match="trained on genes alone: it is for"):
        load_model(genes)
    words = ["predict", str(genes), str(tiny_study.root), "--out", str(tmp_path / "p")]
    assert main(words) == 1
    assert "has no image encoder" in capsys.readouterr().err
    with pytest.raises(ConfigError, match="gene_vae reads no image: leave init empty"):
        values = {"objective.name": "gene_vae", "init": str(genes)}
        train(config_for(tiny_study, **values), tmp_path / "run")


def test_its_genes_are_found_and_brought_to_its_scale(genes, tiny_study):
    expression = tiny_study.expression()
    ids = list(expression.obs_names)
    panel = fit_panel(expression, ids[:8], list(expression.var_names))
    tower = VAE(str(genes))
    resources = tower.read(tiny_study, ids[:8], panel)
    scores, _ = panel.scores(expression, ids)
    known = np.ones(scores.shape, bool)
    known[3, 11] = False
    (found,) = tower.inputs(resources, {"expression": scores}, known)
    own = load_model(genes, encoder=False).meta["panel"]
    values = expression[:, own["genes"]].X
    expected = (values - np.array(own["mean"])) / np.array(own["std"])
    expected[3, own["genes"].index(panel.genes[11])] = 0
    np.testing.assert_allclose(found, expected, atol=1e-4)
    few = fit_panel(expression, ids[:8], list(expression.var_names)[5:])
    with pytest.raises(TowerError, match="reads 12 genes, and the panel lacks 5 of"):
        tower.read(tiny_study, ids[:8], few)


@pytest.mark.slow
@pytest.mark.parametrize("tune", [False, True])
def test_it_starts_from_the_encoder(genes, check_run, tune):
    tower = {"name": "vae", "init": str(genes), "tune": tune}
    model = check_run(tower, **{"objective.dropout": 0.0})
    start = load_model(genes, encoder=False)
    encoder = {k: v for k, v in start.params["encoder"].items() if k != "log_var"}
    moved = jax.tree.map(
        lambda a, b: not np.array_equal(a, b), encoder, model.params["expression"]
    )
    assert any(jax.tree.leaves(moved)) == tune
    # The patients of both are in the audit.
    seen = {one for stage in model.meta["audit"] for one in stage["patients"]}
    assert seen == {f"P{i:02d}" for i in range(10)}


def test_what_cannot_be_run(problems_of, tiny_study, tmp_path):
    assert "expression_tower.init is not set: name a run" in problems_of(
        {"name": "vae"}
    )
    save_model(tmp_path, made_model(tiny_study, "contrastive"))
    with pytest.raises(TowerError, match="of objective gene_vae, got one of contrast"):
        VAE(str(tmp_path)).read(tiny_study, [], None)
