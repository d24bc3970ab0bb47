"""Options of a benchmark: what is read, and that all mistakes come at once."""

import pytest

from pathjax.bench.options import (
    BenchError,
    LoaderOptions,
    StepOptions,
    parse_options,
)


def test_reads_values_by_type():
    options = parse_options(StepOptions, ["--config.variant=Ti/16", "--config.batch=4"])
    assert (options.variant, options.batch) == ("Ti/16", 4)
    assert options.genes == StepOptions().genes


def test_names_every_mistake():
    with pytest.raises(BenchError) as caught:
        parse_options(
            LoaderOptions,
            ["--config.bach=4", "--config.tiles=0", "--config.count=x", "--batch=3"],
        )
    text = str(caught.value)
    assert "bach: no such option, near are batch" in text
    assert "tiles=0: wanted a whole number above 0" in text
    assert "count=x: wanted a whole number above 0" in text
    assert "--batch=3: wanted --config.NAME=VALUE" in text
