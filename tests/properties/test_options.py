"""Numbers given to `predict`, `modalities` and `figure`: used, or refused by name."""

import dataclasses
import math

import numpy as np
import pytest
from damage import examples, require_plain
from hypothesis import given
from hypothesis import strategies as st

from pathjax.modalities.features import Preparation
from pathjax.modalities.run import Options as ModalityOptions
from pathjax.modalities.scatter import read_subject
from pathjax.predict.outputs import Options as PredictOptions

WHOLE = st.integers(-3, 3) | st.sampled_from([-(2**40), 2**40])
REAL = st.floats() | st.sampled_from([0.0, 0.25, 0.5, 1.0])
PREDICT = st.fixed_dictionaries(
    {},
    optional={
        **dict.fromkeys(
            ("neighbours", "nearest", "max_maps", "batch", "threads"), WHOLE
        ),
        **dict.fromkeys(("mpp", "slide_mpp", "min_tissue"), REAL),
    },
)
MODALITIES = st.fixed_dictionaries(
    {},
    optional=dict.fromkeys(("folds", "seed", "least", "genes", "components"), WHOLE),
)


@examples(150)
@given(values=PREDICT)
def test_predict(values):
    try:
        options = PredictOptions(**values)
    except ValueError as error:
        require_plain(str(error))
        named = [name for name in values if f"--{name.replace('_', '-')}" in str(error)]
        assert named
        return
    for name, value in values.items():
        assert math.isfinite(value) and value >= 0, f"{name}={value} was accepted"
    assert dataclasses.asdict(options) | values == dataclasses.asdict(options)


@examples(150)
@given(values=MODALITIES)
def test_modalities(values):
    sizes = {key: values.pop(key) for key in ("genes", "components") if key in values}
    try:
        ModalityOptions(prepare=Preparation(**sizes), **values)
    except ValueError as error:
        require_plain(str(error))
        assert "expected at least" in str(error)
        return
    assert all(value >= 0 for value in (values | sizes).values())


@pytest.mark.parametrize("most", [0, -1])
def test_figure(tiny_study, most):
    with pytest.raises(ValueError, match="--most of at least 1"):
        read_subject(tiny_study.root, "rna", "group", most=most)
    few = read_subject(tiny_study.root, "rna", "group", most=3)
    assert len(np.unique(few.ids)) == 3
