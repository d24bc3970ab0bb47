"""Rows and labels of a fit: what is pooled, left out, refused or named."""

import copy
import dataclasses

import numpy as np
import pytest
from eval_study import rows_of
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pathjax.evals import EvalError
from pathjax.evals.protocols import PROTOCOLS
from pathjax.evals.rows import prepare
from pathjax.evals.tasks import Task

STATUS = Task(
    "t", "made", "status", "classification", "cohort", "fit", "test", "select"
)
TISSUE = dataclasses.replace(STATUS, target="tissue", level="tile")
GENES = dataclasses.replace(STATUS, target=None, kind="expression", genes=3)


@pytest.fixture
def prepared(study, features):
    def make(task, genes=None, **options):
        (roles,) = task.fits(study)
        protocol = PROTOCOLS[task.protocol_name].with_options(options)
        return prepare(task, study, features, roles, protocol, genes)

    return make


def test_tile_rows_and_keep(study, features):
    rows = rows_of(study, "tile", "cohort", "fit", features)
    np.testing.assert_array_equal(rows.index, study.fold_tiles("cohort", "fit"))
    np.testing.assert_array_equal(rows.features, features[rows.index])
    kept = rows.keep(rows.patient == "P03")
    assert len(kept) == 8 and set(kept.patient) == {"P03"}
    assert list(kept.tiles) == list(rows.tiles)


def test_missing_labels_are_left_out_and_counted(study, features, prepared):
    found = prepared(STATUS)
    dropped = found.info["unlabelled"]
    assert sum(dropped.values()) == study.samples["status"].isna().sum() == 6
    assert found.columns == ("mutant", "wild") and found.problem.classes == 2
    for role, kept in found.problem.rows.items():
        before = rows_of(study, "sample", "cohort", role, features)
        assert len(kept) == len(before) - dropped[role]
        names = study.samples["status"].iloc[kept.index]
        numbers = found.problem.labels[role]
        assert [found.columns[number] for number in numbers] == list(names)


def test_nan_numbers_are_left_out(prepared):
    found = prepared(dataclasses.replace(STATUS, target="purity", kind="regression"))
    assert found.info["unlabelled"]["fit"] == 1 and found.problem.classes == 0
    labels = found.problem.labels["fit"]
    assert labels.shape == (len(found.problem.rows["fit"]), 1)
    assert np.isfinite(labels).all()


def test_one_class_is_refused(prepared):
    with pytest.raises(
        EvalError, match="expected at least two classes in fit and test"
    ):
        prepared(dataclasses.replace(STATUS, target="same"))


def test_class_absent_from_the_fit_fold_is_refused_or_counted(prepared):
    # P00's tiles are of two classes only; the test fold has all three.
    lone = dataclasses.replace(TISSUE, split="lone", fit="one", select=None)
    with pytest.raises(EvalError, match=r"classes \['fat'\] of the test"):
        prepared(lone)
    found = prepared(lone, allow_unseen=True)
    assert len(found.columns) == 3 and found.info["unseen"] == ["fat"]
    missing, labels = found.columns.index("fat"), found.problem.labels
    assert missing in labels["test"] and missing not in labels["fit"]


def test_genes_are_chosen_on_the_fit_fold_alone(study, prepared):
    found = prepared(GENES)
    assert found.info["without_expression"]["fit"] == 1
    expression = study.expression()
    mine = expression[list(found.problem.rows["fit"].sample)].X
    order = np.argsort(-mine.astype(np.float64).var(axis=0))[:3]
    assert found.columns == tuple(expression.var_names[order])
    assert found.problem.labels["test"].shape == (len(found.problem.test), 3)
    assert prepared(GENES, ("G7", "G1")).columns == ("G7", "G1")


def test_rows_of_classes_not_asked_for_are_left_out_and_counted(
    study, features, prepared
):
    found = prepared(dataclasses.replace(TISSUE, classes=("stroma", "fat")))
    assert found.columns == ("fat", "stroma")
    assert set(found.problem.labels["test"]) == {0, 1}
    whole = rows_of(study, "tile", "cohort", "test", features)
    of = study.tiles["tissue"].iloc[whole.index]
    assert found.info["of_other_classes"]["test"] == (of == "tumour").sum() > 0
    assert len(found.problem.test) == (of != "tumour").sum()


@settings(max_examples=25, deadline=None, derandomize=True,
          suppress_health_check=[HealthCheck.function_scoped_fixture])  # fmt: skip
@given(data=st.data(), task=st.sampled_from([STATUS, TISSUE]))
def test_every_row_of_a_fold_is_used_or_counted(study, features, data, task):
    """Whatever labels are missing, or of classes that the task does not name."""
    table = study.tiles if task.level == "tile" else study.samples
    classes = sorted(set(table[task.target].dropna()))
    cells = st.lists(
        st.sampled_from([*classes, None]), min_size=len(table), max_size=len(table)
    )
    changed = copy.copy(study)
    name = "tiles" if task.level == "tile" else "samples"
    labels = table.assign(**{task.target: data.draw(cells)})
    changed.__dict__[name] = labels  # in place of the cached table
    asked = data.draw(st.sampled_from([(), tuple(classes[:2])]))
    task = dataclasses.replace(task, classes=asked)
    (roles,) = task.fits(changed)
    try:
        found = prepare(task, changed, features, roles, PROTOCOLS[task.protocol_name])
    except EvalError:
        return
    for role, folds in roles.items():
        rows = rows_of(study, task.level, task.split, folds, features)
        used = found.problem.rows[role]
        left_out = sum(
            found.info[key][role] for key in ("unlabelled", "of_other_classes")
        )
        assert len(rows) == len(used) + left_out
        kept = labels[task.target].iloc[used.index]
        assert kept.notna().all() and (not asked or kept.isin(asked).all())
