"""Configs: overrides, near names, and everything wrong at once."""

import pytest

from pathjax.config import (
    ConfigError,
    base_config,
    find,
    flat_keys,
    load,
    override,
    parse_arg,
    shipped_folder,
    validate,
)


def runnable():
    config = base_config()
    override(config, {"study": "s", "split": "main", "data.genes": 10})
    return config


def test_the_defaults_need_only_a_study_and_genes():
    validate(runnable())
    with pytest.raises(ConfigError) as caught:
        validate(base_config())
    text = str(caught.value)
    for part in ("study is not set", "split is not set", "needs gene expression"):
        assert part in text


def test_dino_is_not_validated():
    """Its views are made in training only."""
    config = runnable()
    override(config, {"objective.name": "dino", "data.unit": "tile", "val_fold": "v"})
    validate(config)
    override(config, {"eval.every": 5})
    with pytest.raises(ConfigError, match="dino has no validation: leave eval.every"):
        validate(config)


def test_overrides_are_typed_and_strings_are_read():
    config = runnable()
    override(
        config,
        {
            "optim.lr": "3e-5",
            "optim.steps": 7,
            "data.flip": "False",
            "optim.freeze": '["vit/"]',
            "name": "12",
            "optim.weight_decay": "0",
        },
    )
    assert config.optim.lr == 3e-5 and config.optim.steps == 7
    assert config.data.flip is False and config.optim.freeze == ("vit/",)
    assert config.name == "12" and config.optim.weight_decay == 0.0


def test_unknown_keys_fail_with_the_nearest_names_all_at_once():
    with pytest.raises(ConfigError) as caught:
        override(
            runnable(),
            {"optim.lrr": 1, "dta.batch": 2, "optim.steps": "many", "data.flip": 1.5},
        )
    text = str(caught.value)
    assert "optim.lrr: no such key, near are optim.lr" in text
    assert "dta.batch: no such key, near are data.batch" in text
    assert "optim.steps='many': wanted int" in text
    assert "data.flip=1.5: wanted bool" in text


def test_options_of_model_and_objective_are_free_here():
    config = runnable()
    override(config, {"model.registers": 4, "objective.loss": "sigmoid"})
    assert config.model.registers == 4
    validate(config)


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("data.batch", 0, "data.batch=0: wanted at least 1"),
        ("objective.name", "contrastve", "did you mean 'contrastive'"),
        ("val_fold", "train", "fold and val_fold are both 'train'"),
        ("eval.every", 5, "no val_fold"),
        ("eval.mode", "up", "wanted min or max"),
        ("optim.warmup", 5000, "longer than"),
        ("objective.name", "dino", "data.unit='tile'"),
    ],
)
def test_bad_values_are_named(key, value, message):
    config = runnable()
    override(config, {key: value})
    with pytest.raises(ConfigError, match=message):
        validate(config)


def test_a_key_that_a_file_invented_is_refused():
    config = runnable()
    config.optim.momentum = 0.9
    with pytest.raises(ConfigError, match="optim.momentum: no such key"):
        validate(config)


def test_argument_of_a_config_path():
    parsed = parse_arg("regression,smoke,k=4", mode="contrastive", smoke=False, k=8)
    assert (parsed.mode, parsed.smoke, parsed.k) == ("regression", True, 4)
    assert parse_arg(None, mode="x").mode == "x"
    with pytest.raises(ConfigError, match="near are smoke"):
        parse_arg("smokee=1", smoke=False)
    with pytest.raises(ConfigError, match="wanted int"):
        parse_arg("k=four", k=8)


def test_a_missing_file_names_the_shipped_ones(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ConfigError, match=r"demo\.py"):
        find("configs/dmeo.py")
    assert find("configs/demo.py:smoke") == (shipped_folder() / "demo.py", "smoke")


def test_a_loaded_config_is_locked(tmp_path):
    path = tmp_path / "c.py"
    path.write_text(
        "from pathjax.config import base_config\n"
        "def get_config(arg=None):\n"
        "    config = base_config()\n"
        "    config.study, config.split, config.data.genes = 's', 'm', 3\n"
        "    config.name = arg or ''\n"
        "    return config\n"
    )
    config = load(f"{path}:hello", {"seed": 4})
    assert config.name == "hello" and config.seed == 4
    with pytest.raises(AttributeError):
        config.optim.momentum = 0.9


def test_flat_keys_are_dotted():
    assert "optim.lr" in flat_keys(base_config())
