"""Gene towers by name and in a config; the default is an MLP."""

import json

import pytest
from tiny_study import config_for

from pathjax import gene_towers
from pathjax.config import RunConfig
from pathjax.gene_towers import MLP, TowerError
from pathjax.registry import RegistryError


def test_options_make_a_tower_and_come_back():
    assert gene_towers.make({}) == MLP()
    assert gene_towers.options_of(MLP()) == {"name": "mlp"}
    with pytest.raises(TowerError, match=r"'objective.expression_tower.k' of mlp; it"):
        gene_towers.make({"name": "mlp", "k": 1})
    with pytest.raises(RegistryError, match="unknown gene tower 'mpl'; did you mean"):
        gene_towers.make({"name": "mpl"})


def test_a_flag_sets_an_option_of_an_option(tiny_study):
    config = config_for(tiny_study, **{"objective.expression_tower.name": "mlp"})
    run = RunConfig.from_dict(config.to_dict())
    assert run.problems() == []
    assert run.objective.options["expression_tower"] == {"name": "mlp"}
    again = RunConfig.from_dict(json.loads(json.dumps(run.to_dict())))
    assert again.objective.build() == run.objective.build()
    for key, value, message in (
        ("objective.expression_tower.name", "vea", "unknown gene tower 'vea'"),
        ("objective.expression_tower.kk", 1, "option 'objective.expression_tower.kk'"),
        ("objective.expression_towr.name", "mlp", "'objective.expression_towr'"),
        ("objective.expression_tower", "vae", "objective.expression_tower.name=vae"),
    ):
        run = RunConfig.from_dict(config_for(tiny_study, **{key: value}).to_dict())
        assert message in "; ".join(run.problems())


def test_a_tower_without_its_module_says_so():
    with pytest.raises(NotImplementedError, match=r"has no method module\(resources"):
        gene_towers.GeneTower().module({}, None)
