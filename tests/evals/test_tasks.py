import dataclasses

import pytest

from pathjax.evals.protocols import PROTOCOLS, ProtocolError
from pathjax.evals.tasks import Task, TaskError, validate_all

GOOD = Task("t", "made", "status", "classification", "cohort", "fit", "test", "select")


def test_good_tasks_have_no_problems(study):
    expression = Task("e", "made", None, "expression", "cohort", "fit", "test")
    tile = dataclasses.replace(GOOD, name="tile", target="tissue", level="tile")
    validate_all([GOOD, expression, tile], {"made": study})
    assert expression.protocol_name == "ridge/1" and expression.metric == "pearson"


@pytest.mark.parametrize(
    "change, message",
    [
        ({"study": "other"}, "is for study 'other'"),
        ({"kind": "guess"}, "kind is 'guess'"),
        ({"level": "slide"}, "level is 'slide'"),
        ({"protocol": "linear/9"}, "protocol 'linear/9' is unknown"),
        ({"protocol": "ridge/1"}, "cannot score kind classification"),
        ({"target": "grade"}, "target 'grade' is unknown; the study has tissue"),
        ({"target": "tissue"}, "is of level tile"),
        ({"target": "purity"}, "is a number, classification wants a class"),
        ({"kind": "regression"}, "is a class, regression wants a number"),
        ({"split": "none"}, "split 'none' is unknown; the study has cohort"),
        ({"fit": "train"}, "fit fold 'train' is not in split cohort"),
        ({"fit": None}, "no fit fold"),
        ({"select": "test"}, "one fold has two roles"),
        ({"kind": "expression", "target": None, "level": "tile"}, "is of samples"),
    ],
)
def test_each_problem_is_named(study, change, message):
    with pytest.raises(TaskError, match="task t: ") as caught:
        dataclasses.replace(GOOD, **change).validate(study)
    assert message in str(caught.value)


def test_problems_are_collected(study):
    bad = dataclasses.replace(GOOD, target="grade", split="none", protocol="x")
    assert len(bad.problems(study)) == 3
    with pytest.raises(TaskError) as caught:
        validate_all(
            [bad, GOOD, GOOD, dataclasses.replace(GOOD, study="z")], {"made": study}
        )
    message = str(caught.value)
    assert "occur twice: t" in message and "no study 'z'" in message
    assert "grade" in message and "'none'" in message


def test_options_are_named_in_the_label():
    plain = PROTOCOLS["linear/1"]
    assert plain.with_options({"seeds": plain.seeds}) is plain
    changed = plain.with_options({"seeds": 2, "balanced": False})
    assert changed.name == "linear/1 (balanced=False, seeds=2)"
    assert changed.seeds == 2
    with pytest.raises(ProtocolError, match=r"near: \{'seed': \['seeds'\]\}"):
        plain.with_options({"seed": 3})


def test_grids_begin_with_the_strongest():
    for protocol in PROTOCOLS.values():
        assert list(protocol.strengths) == sorted(protocol.strengths, reverse=True)
