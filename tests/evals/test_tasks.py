import dataclasses

import pytest

from pathjax.evals import EvalError
from pathjax.evals.protocols import PROTOCOLS
from pathjax.evals.tasks import Task, validate_all

GOOD = Task("t", "made", "status", "classification", "cohort", "fit", "test", "select")


def test_good_tasks_have_no_problems(study):
    expression = Task("e", "made", None, "expression", "cohort", "fit", "test")
    tile = dataclasses.replace(GOOD, name="tile", target="tissue", level="tile")
    validate_all([GOOD, expression, tile], {"made": study})
    assert (
        expression.protocol_name == "ridge/1"
        and expression.metric_name(expression.find_protocol()) == "pearson"
    )


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"study": "other"}, "expected study 'other', got 'made'"),
        ({"kind": "guess"}, "unknown kind 'guess'"),
        ({"level": "slide"}, "expected level tile or sample, got 'slide'"),
        (
            {"protocol": "linear/9"},
            "unknown protocol 'linear/9'; did you mean 'linear/1'",
        ),
        (
            {"protocol": "ridge/1"},
            "is for expression or regression, the task's kind is classification",
        ),
        ({"target": "grade"}, "unknown target 'grade'; the study has tissue"),
        ({"target": "tissue"}, "is of level tile"),
        (
            {"target": "purity"},
            "classification expects a target that is a class, purity is a number",
        ),
        (
            {"kind": "regression"},
            "regression expects a target that is a number, status is a class",
        ),
        ({"split": "none"}, "unknown split 'none'; the study has cohort"),
        ({"fit": "train"}, "fit fold 'train' is not in split cohort"),
        ({"fit": None}, "no fit fold"),
        ({"metric": "aurok"}, "unknown metric 'aurok'; did you mean 'auroc'"),
        (
            {"metric": "pearson"},
            "pearson needs values, kind classification has classes",
        ),
        ({"more_metrics": ("auroc", "auroc")}, "a metric is named twice"),
        ({"more_metrics": ("balanced_accuracy",)}, "a metric is named twice"),
        ({"more_metrics": ("spearman",)}, "spearman needs values, kind classification"),
        (
            {"kind": "retrieval", "more_metrics": ("recall@1",)},
            "more_metrics are not for retrieval: make each a task",
        ),
        ({"select": "test"}, "one fold has two roles"),
        ({"kind": "expression", "target": None, "level": "tile"}, "is for samples"),
    ],
)
def test_each_problem_is_named(study, change, message):
    with pytest.raises(EvalError, match="task t: ") as caught:
        dataclasses.replace(GOOD, **change).validate(study)
    assert message in str(caught.value)


def test_problems_are_collected(study):
    bad = dataclasses.replace(GOOD, target="grade", split="none", protocol="x")
    assert len(bad.problems(study)) == 3
    with pytest.raises(EvalError) as caught:
        validate_all(
            [bad, GOOD, GOOD, dataclasses.replace(GOOD, study="z")], {"made": study}
        )
    message = str(caught.value)
    assert "occur twice: t" in message and "no study 'z'" in message
    assert "grade" in message and "'none'" in message


def test_options_are_named_in_the_label():
    plain = PROTOCOLS["linear/1"]
    assert plain.with_options({"seeds": plain.probe.seeds}) is plain
    changed = plain.with_options({"seeds": 2, "balanced": False})
    assert changed.name == "linear/1 (balanced=False, seeds=2)"
    assert changed.probe.seeds == 2 and not changed.probe.balanced
    with pytest.raises(EvalError, match="no option 'seed'; did you mean 'seeds'"):
        plain.with_options({"seed": 3})


def test_grids_begin_with_the_strongest():
    for protocol in PROTOCOLS.values():
        grid = getattr(protocol.probe, "grid", ())
        assert list(grid) == sorted(grid, reverse=True)
