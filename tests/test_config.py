"""Configs: overrides, suggestions, typed values, and all problems at once."""

import pytest

from pathjax.config import (
    ConfigError,
    RunConfig,
    base_config,
    find,
    flatten,
    load,
    override,
    parse_arg,
    resolve,
    shipped_folder,
)


def runnable(**changes):
    config = base_config()
    override(config, {"study": "s", "split": "main", "data.genes": 10} | changes)
    return config


def test_the_defaults_need_only_a_study_and_genes():
    assert resolve(runnable()).data.genes == 10
    with pytest.raises(ConfigError) as caught:
        resolve(base_config())
    for part in ("study is not set", "split is not set", "needs gene expression"):
        assert part in str(caught.value)


def test_a_config_and_its_typed_form_hold_the_same():
    config = runnable(**{"model.registers": 4, "objective.widths": (8, 8)})
    typed = resolve(config)
    assert typed.to_dict() == config.to_dict()
    assert RunConfig.from_dict(typed.to_dict()) == typed
    assert resolve(typed) is typed
    assert "optim.lr" in flatten(typed.to_dict())
    # As a checkpoint's JSON has it.
    lists = typed.to_dict() | {"log": {"profile": [3, 2]}}
    assert RunConfig.from_dict(lists).log.profile == (3, 2)


def test_an_objective_may_have_no_validation():
    """DINO's views are made in training only."""
    dino = {"objective.name": "dino", "data.unit": "tile", "val_fold": "v"}
    resolve(runnable(**dino))
    with pytest.raises(ConfigError, match="dino has no validation: leave eval.every"):
        resolve(runnable(**dino, **{"eval.every": 5}))


def test_options_of_a_part_without_weight_are_named():
    assert resolve(runnable()).unused() == []
    set_ = {"anchor.patches": 0.5, "self_distillation.prototypes": 8}
    assert resolve(runnable(**set_)).unused() == list(set_)
    weights = {"anchor.weight": 1.0, "self_distillation.weight": 1.0, "init": "m"}
    assert resolve(runnable(**set_, **weights)).unused() == []


def test_overrides_are_typed_and_strings_are_read():
    config = runnable(
        **{
            "optim.lr": "3e-5",
            "optim.steps": 7,
            "data.flip": "False",
            "optim.freeze": '["vit/"]',
            "name": "12",
            "optim.weight_decay": "0",
        }
    )
    assert config.optim.lr == 3e-5 and config.optim.steps == 7
    assert config.data.flip is False and config.optim.freeze == ("vit/",)
    assert config.name == "12" and config.optim.weight_decay == 0.0


def test_unknown_keys_are_reported_all_at_once():
    with pytest.raises(ConfigError) as caught:
        runnable(
            **{"optim.lrr": 1, "dta.batch": 2, "optim.steps": "many", "data.flip": 1.5}
        )
    text = str(caught.value)
    assert "unknown key 'optim.lrr'; did you mean 'optim.lr'" in text
    assert "unknown key 'dta.batch'; did you mean 'data.batch'" in text
    assert "optim.steps='many': expected int" in text
    assert "data.flip=1.5: expected bool" in text


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("data.batch", 0, "data.batch=0: expected at least 1"),
        ("data.batch", -1, "data.batch=-1: expected at least 1"),
        ("optim.lr", float("nan"), "optim.lr=nan: expected a finite number"),
        ("optim.weight_decay", float("inf"), "optim.weight_decay=inf"),
        ("optim.clip", -1.0, "optim.clip=-1.0: expected at least 0"),
        ("multicrop.local_px", 0, "multicrop.local_px=0"),
        ("multicrop.local_scale", (0.1, float("nan")), "multicrop.local_scale="),
        ("log.profile", (3,), "log.profile"),
        ("data.unit", "slide", "expected sample or tile"),
        ("objective.name", "contrastve", "did you mean 'contrastive'"),
        ("objective.dropuot", 0.1, "'objective.dropuot' of contrastive; did you mean"),
        ("objective.dropout", 1.5, "dropout=1.5: expected 0 <= dropout < 1"),
        ("objective.chunk", 3, r"objective\.chunk=3 .* use 1, 2, 4, 8"),
        ("objective.text_dim", 3, "unknown option 'objective.text_dim'"),
        ("objective.name", "no.such.module:Class", "cannot import objective"),
        ("val_fold", "train", "fold and val_fold are both 'train'"),
        ("eval.every", 5, "--config.val_fold"),
        ("eval.mode", "up", "expected min or max"),
        ("optim.warmup", 5000, "longer than"),
        ("optim.accumulate", 3, "does not divide"),
        ("objective.name", "dino", "needs data.unit=tile"),
        ("adapt.mode", "lora", "adapts a model: set init"),
    ],
)
def test_bad_values_are_named(key, value, message):
    with pytest.raises(ConfigError, match=message):
        resolve(runnable(**{key: value}))


def test_changes_of_a_typed_config_are_checked():
    config = resolve(runnable())
    assert config.replace({"model.remat": True}).model.get("remat") is True
    with pytest.raises(ConfigError, match="optim.steps=0"):
        config.replace({"optim.steps": 0})
    with pytest.raises(ConfigError, match="unknown key 'optim.stepps'"):
        config.replace({"optim.stepps": 1})


def test_a_key_that_a_file_invented_is_refused():
    config = runnable()
    config.optim.momentum = 0.9
    with pytest.raises(ConfigError, match="unknown key 'optim.momentum'"):
        resolve(config)


def test_argument_of_a_config_path():
    parsed = parse_arg("regression,smoke,k=4", mode="contrastive", smoke=False, k=8)
    assert (parsed.mode, parsed.smoke, parsed.k) == ("regression", True, 4)
    assert parse_arg(None, mode="x").mode == "x"
    with pytest.raises(ConfigError, match="did you mean 'smoke'"):
        parse_arg("smokee=1", smoke=False)
    with pytest.raises(ConfigError, match="expected int"):
        parse_arg("k=four", k=8)
    with pytest.raises(ConfigError, match="'smokee': the mode is 'x' already"):
        parse_arg("x,smokee", mode="y", smoke=False)


def test_a_missing_file_names_the_shipped_ones(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ConfigError, match=r"demo\.py"):
        find("configs/dmeo.py")
    assert find("configs/demo.py:smoke") == (shipped_folder() / "demo.py", "smoke")


def test_a_loaded_config_is_typed_and_frozen(tmp_path):
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
    assert isinstance(config, RunConfig)
    assert config.name == "hello" and config.seed == 4
    with pytest.raises(AttributeError):
        config.seed = 5
