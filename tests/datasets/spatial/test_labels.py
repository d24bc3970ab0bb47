import pandas as pd
import pytest

from pathjax.datasets.spatial.labels import constant, label_columns
from pathjax.datasets.spatial.sample import SpatialError


def test_labels_are_what_varies_and_is_not_bookkeeping():
    obs = pd.DataFrame(
        {
            "array_row": range(120),
            "n_genes_by_counts": range(120),
            "total_counts": range(120),
            "zone": pd.Categorical(["a", "b"] * 60),
            "score": [0.5] * 60 + [1.5] * 60,
            "run": "same",
            "name": [f"cell {i}" for i in range(120)],
        }
    )
    labels, unused = label_columns(obs)
    assert list(labels) == ["zone", "score"]
    assert dict(unused) == {
        "column run": "it has one value for all spots",
        "column name": "120 different texts are no classes",
    }


def test_a_column_about_the_sample_has_one_value():
    obs = pd.DataFrame({"donor": ["P1", None, "P1"], "site": ["a", "b", "a"]})
    assert constant(obs, ("patient", "donor"), "here") == "P1"
    assert constant(obs, ("library",), "here") is None
    with pytest.raises(
        SpatialError, match=r"here: obs column site has 2 values \(a, b"
    ):
        constant(obs, ("site",), "here")
