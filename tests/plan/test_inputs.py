"""Encoders and panels of runs whose study and model do not exist."""

import jax
import pytest
from partial import withhold

from pathjax import zoo
from pathjax.config import ConfigError, load
from pathjax.plan.inputs import (
    Sizes,
    has_unmeasured,
    initial_model,
    resources,
    training_samples,
)
from pathjax.plan.steps import build

TCGA = "configs/tcga.py:contrastive,pod"


def test_a_public_model_gives_its_shape_by_name():
    config = load(TCGA, {"init": "uni"})
    assert initial_model(config).vit == zoo.get("uni").vit
    assert initial_model(load(f"{TCGA},variant=L/16")) is None


def test_an_unknown_model_needs_a_variant(tmp_path):
    missing = {"init": str(tmp_path / "ours")}
    with pytest.raises(ConfigError, match=r"neither a model file.*--config.init=uni"):
        initial_model(load(TCGA, missing))
    assert initial_model(load(f"{TCGA},variant=S/16", missing)) is None


def test_the_panel_has_the_config_s_length(tmp_path):
    config = load(f"{TCGA},variant=S/16")
    assert Sizes().n_genes(config) == 2000
    assert Sizes(genes=7).n_genes(config) == 7
    genes = tmp_path / "genes.txt"
    listed = load(f"{TCGA},variant=S/16", {"data.gene_list": str(genes)})
    with pytest.raises(ConfigError, match="--genes=N"):
        Sizes().n_genes(listed)
    genes.write_text("TP53\n\nERBB2\n")
    assert Sizes().n_genes(listed) == 2


def test_training_samples_of_a_study(tiny_study):
    config = load(f"{TCGA},variant=S/16")
    assert training_samples(config) is None
    options = {"study": str(tiny_study.root), "split": "main"}
    here = load(f"{TCGA},variant=S/16", options)
    assert training_samples(here) == len(tiny_study.fold_samples("main", "train"))


def test_batches_of_a_study_with_unmeasured_genes_have_a_mask(tiny_study, monkeypatch):
    config = load(f"{TCGA},variant=S/16")
    assert not has_unmeasured(config)
    here = load(f"{TCGA},variant=S/16", {"study": str(tiny_study.root)})
    assert not has_unmeasured(here)
    partial = withhold(
        tiny_study.expression(), ["P01"], tiny_study.expression().var_names[:5]
    )
    monkeypatch.setattr(type(tiny_study), "expression", lambda self: partial)
    assert has_unmeasured(here)
    program, _ = build(here, jax.devices(), Sizes(genes=7))
    batch = program.abstract_batch()
    assert batch["measured"].shape == (here.data.batch, 7)


def test_width_of_text_embeddings(tmp_path):
    plain = load(f"{TCGA},variant=S/16")
    assert Sizes(text=5).text_dim(plain) == 0
    config = load(f"{TCGA},variant=S/16", {"data.text": str(tmp_path / "text.h5")})
    assert Sizes(text=384).text_dim(config) == 384
    with pytest.raises(ConfigError, match="--text-dim=N"):
        Sizes().text_dim(config)


def test_a_gene_tower_is_built_from_its_files(tiny_study, tmp_path):
    genes = list(tiny_study.expression().var_names)
    (tmp_path / "sets.gmt").write_text("\t".join(["a", "", *genes]))
    tower = {"name": "pathways", "gene_sets": str(tmp_path / "sets.gmt")}
    options = {f"objective.expression_tower.{k}": v for k, v in tower.items()}
    options |= {"data.genes": 6, "split": "main"}
    config = load(f"{TCGA},variant=S/16", options | {"study": str(tiny_study.root)})
    assert resources(config)["gene_sets"] == {"a": [0, 1, 2, 3, 4, 5]}
    absent = load(f"{TCGA},variant=S/16", options | {"study": "absent"})
    with pytest.raises(ConfigError, match="absent, which is not here: build the study"):
        resources(absent)
    assert resources(load(f"{TCGA},variant=S/16")) == {}
