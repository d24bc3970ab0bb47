"""docs/benchmarks.md agrees with the registry."""

from pathlib import Path

import pytest
from benchmark_tables import files_list, sets_table

from pathjax.datasets.benchmarks import BENCHMARKS

DOCS = Path(__file__).parents[3] / "docs" / "benchmarks.md"


@pytest.mark.parametrize("block", [sets_table, files_list])
def test_the_page_agrees_with_the_registry(block):
    assert block(BENCHMARKS.values()) in DOCS.read_text(encoding="utf-8"), (
        "run python tests/benchmark_tables.py and put its blocks there"
    )


def test_the_registry_is_complete():
    for name, one in BENCHMARKS.items():
        assert one.name == name
        assert one.scored in one.counts and "train" in one.counts
        assert len({part.key for part in one.parts}) == len(one.parts)
        assert all(len(part.md5) in (0, 32) for part in one.parts)
