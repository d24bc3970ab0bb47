"""A run folder with made-up results; see tests/made_results.py."""

import types

import pytest
from made_results import class_outcome, gene_outcome, write_model


@pytest.fixture
def run(tmp_path):
    """A base, a model tuned from it with three seeds, and a baseline."""
    root = tmp_path / "run"
    write_model(
        root, "base", [class_outcome("kind", 0.5, 1), gene_outcome("genes", 2.0, 2)]
    )
    for seed in range(3):
        outcomes = [
            class_outcome("kind", 0.9, 10 + seed),
            gene_outcome("genes", 1.0, 20 + seed),
        ]
        write_model(root, "tuned", outcomes, base="base", seed=seed)
    write_model(root, "colour", [gene_outcome("genes", 5.0, 5)])
    return root


@pytest.fixture
def outcomes():
    """The functions above, for tests that write their own runs."""
    return types.SimpleNamespace(
        class_outcome=class_outcome, gene_outcome=gene_outcome, write_model=write_model
    )
