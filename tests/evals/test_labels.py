"""What is left out, refused or named when labels are put together."""

import dataclasses

import numpy as np
import pytest

from pathjax.evals.labels import (
    Folds,
    class_labels,
    expression_labels,
    number_labels,
)
from pathjax.evals.protocols import PROTOCOLS
from pathjax.evals.rows import fold_rows
from pathjax.evals.tasks import Task, TaskError

LINEAR, RIDGE = PROTOCOLS["linear/1"], PROTOCOLS["ridge/1"]


@pytest.fixture
def folds(study, features):
    def make(level="sample", fit="fit", select="select", test="test", split="cohort"):
        return Folds(
            *(fold_rows(study, level, split, f, features) if f else None
              for f in (fit, select, test)),
            shared=(),
        )  # fmt: skip

    return make


def task(**change):
    plain = Task("t", "made", "status", "classification", "cohort", "fit", "test")
    return dataclasses.replace(plain, **change)


def test_missing_labels_are_left_out_and_counted(study, folds):
    before = folds()
    after, labels, classes, record = class_labels(task(), study, before, LINEAR)
    dropped = record["unlabelled"]
    assert sum(dropped.values()) == study.samples["status"].isna().sum() == 6
    for role in ("fit", "select", "test"):
        kept = getattr(after, role)
        assert len(kept) == len(getattr(before, role)) - dropped[role]
        names = study.samples["status"].iloc[kept.index]
        assert [classes[one] for one in labels[role]] == list(names)
    assert classes == ("mutant", "wild")


def test_nan_numbers_are_left_out(study, folds):
    after, labels, _, record = number_labels(task(target="purity"), study, folds())
    assert record["unlabelled"]["fit"] == 1
    assert labels["fit"].shape == (len(after.fit), 1)
    assert np.isfinite(labels["fit"]).all()


def test_one_class_is_refused(study, folds):
    with pytest.raises(TaskError, match="at least two in each"):
        class_labels(task(target="same"), study, folds(), LINEAR)


def test_class_absent_from_the_fit_fold_is_refused_or_counted(study, folds):
    # P00's tiles are of two classes only; the test fold has all three.
    part = folds("tile", "one", None, "test", "lone")
    tissue = task(target="tissue", level="tile")
    with pytest.raises(TaskError, match=r"classes \['fat'\] of the test"):
        class_labels(tissue, study, part, LINEAR)
    lenient = LINEAR.with_options({"allow_unseen": True})
    _, labels, classes, record = class_labels(tissue, study, part, lenient)
    assert len(classes) == 3 and len(record["unseen"]) == 1
    missing = classes.index(record["unseen"][0])
    assert missing in labels["test"] and missing not in labels["fit"]


def test_genes_are_chosen_on_the_fit_fold_alone(study, folds):
    part = folds(select=None)
    after, labels, genes, record = expression_labels(
        task(genes=3), study, part, None, RIDGE
    )
    assert record["without_expression"]["fit"] == 1
    expression = study.expression()
    mine = expression[list(after.fit.sample)].X
    order = np.argsort(-mine.astype(np.float64).var(axis=0))[:3]
    assert genes == tuple(expression.var_names[order])
    assert labels["test"].shape == (len(after.test), 3)


def test_a_gene_list_overrides(study, folds):
    genes = expression_labels(task(genes=3), study, folds(), ("G7", "G1"), RIDGE)[2]
    assert genes == ("G7", "G1")


def test_rows_of_classes_not_asked_for_are_left_out_and_counted(study, folds):
    asked = task(target="tissue", level="tile", classes=("stroma", "fat"))
    after, labels, classes, record = class_labels(asked, study, folds("tile"), LINEAR)
    assert classes == ("fat", "stroma") and set(labels["test"]) == {0, 1}
    of = study.tiles["tissue"].iloc[folds("tile").test.index]
    assert record["of_other_classes"]["test"] == (of == "tumour").sum() > 0
    assert len(after.test) == (of != "tumour").sum()
