"""Small models with random parameters: what they predict is computed again in NumPy."""

import copy
import functools

import pytest
from made_model import made_model

from pathjax.models.model_file import save_model


@pytest.fixture(scope="session")
def make_model(tiny_study):
    """make(objective, **options) -> Model of the small study's patients P00 to P07."""
    made = functools.cache(functools.partial(made_model, tiny_study))
    # Copies: a test may change what a checkpoint says.
    return lambda name="regression", **options: copy.deepcopy(made(name, **options))


@pytest.fixture(scope="session")
def checkpoints(make_model, tmp_path_factory):
    """Folders of a regression and a contrastive run, by name."""
    root = tmp_path_factory.mktemp("runs")
    for name in ("regression", "contrastive"):
        save_model(root / name, make_model(name))
    return {name: root / name for name in ("regression", "contrastive")}
