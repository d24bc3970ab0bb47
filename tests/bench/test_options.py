"""Options of a benchmark: what is read, and that all mistakes come at once."""

import pytest

from pathjax.bench import loader, step
from pathjax.bench.options import BenchError, parse_options


def test_reads_values_by_type():
    options = parse_options(
        step.Options, ["--config.variant=Ti/16", "--config.batch=4"]
    )
    assert (options.variant, options.batch) == ("Ti/16", 4)
    assert options.genes == step.Options().genes


def test_names_every_mistake():
    with pytest.raises(BenchError) as caught:
        parse_options(
            loader.Options,
            ["--config.bach=4", "--config.tiles=0", "--config.count=x", "--batch=3"],
        )
    text = str(caught.value)
    assert "unknown option 'bach'; did you mean batch" in text
    assert "tiles=0: expected a whole number above 0" in text
    assert "count=x: expected a whole number above 0" in text
    assert "expected --config.NAME=VALUE, got --batch=3" in text
