"""Counts written out, scikit-learn, and properties of every assignment."""

import numpy as np
import pandas as pd
import pytest
from extras import extra
from hypothesis import given, settings
from hypothesis import strategies as st

from pathjax.data.folds import fractions_of, parse_fractions, patient_folds
from pathjax.data.study import StudyError

model_selection = extra("sklearn.model_selection")


def cohort(seed, patients, **classes):
    """Patients with labels of the given numbers of classes."""
    rng = np.random.default_rng(seed)
    columns = {
        name: [f"{name}{i}" for i in rng.geometric(0.4, patients) % count]
        for name, count in classes.items()
    }
    ids = [f"P{i:03d}" for i in range(patients)]
    return pd.DataFrame({"patient_id": ids, **columns})


shares = st.one_of(
    st.integers(2, 6),
    st.lists(st.integers(1, 9), min_size=2, max_size=5).map(
        lambda parts: {f"f{i}": one / sum(parts) for i, one in enumerate(parts)}
    ),
)


@settings(max_examples=80, deadline=None)
@given(seed=st.integers(0, 999), patients=st.integers(60, 150), folds=shares)
def test_every_patient_is_in_one_fold_and_no_class_is_a_patient_off(
    seed, patients, folds
):
    table = cohort(seed, patients, a=4)
    made = patient_folds(table, folds, labels=["a"], seed=seed)
    split = made.split("s", "n")
    ids = [one for ids in split.folds.values() for one in ids]
    assert sorted(ids) == sorted(table["patient_id"]) and split.note == "n"
    assert list(split.folds) == list(fractions_of(folds))
    gaps = (made.counts - made.targets).abs().to_numpy()
    assert (gaps[1:] < 1 + 1e-9).all()
    # Left-over patients of four classes do not add up to a fold that is too large.
    assert (gaps[0] < 2).all()
    # The counts are those of the patients.
    for name, own in split.folds.items():
        inside = table[table["patient_id"].isin(own)]
        assert made.counts.loc[("all patients", ""), name] == len(inside)
        for value, count in inside["a"].value_counts().items():
            assert made.counts.loc[("a", value), name] == count


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 999), folds=st.integers(2, 5))
def test_balance_is_no_worse_than_scikit_learns(seed, folds):
    table = cohort(seed, 97, a=3)
    made = patient_folds(table, folds, labels=["a"], seed=seed)
    theirs = made.counts.iloc[1:] * 0
    splitter = model_selection.StratifiedKFold(folds, shuffle=True, random_state=0)
    for i, (_, test) in enumerate(splitter.split(table, table["a"])):
        for value, count in table["a"].iloc[test].value_counts().items():
            theirs.loc[("a", value), f"fold{i}"] = count
    targets = made.targets.iloc[1:]
    gap = (made.counts.iloc[1:] - targets).abs().to_numpy().sum()
    assert gap <= (theirs - targets).abs().to_numpy().sum() + 1e-9


def test_several_labels_are_balanced_together():
    table = cohort(0, 240, a=3, b=3, c=2)
    made = patient_folds(table, 5, labels=["a", "b", "c"])
    assert (made.counts - made.targets).abs().to_numpy().max() < 3
    one = patient_folds(table, 5, labels=["a"])
    other = table.assign(fold=table["patient_id"].map(one.fold))
    alone = pd.crosstab(other["b"], other["fold"])
    spread = made.counts.loc["b"].to_numpy().std(axis=1).mean()
    assert spread < alone.to_numpy().std(axis=1).mean()


def test_seeds_differ_orders_do_not():
    table = cohort(1, 80, a=2)
    made = patient_folds(table, 4, labels=["a"], seed=3)
    again = patient_folds(table.sample(frac=1, random_state=0), 4, labels=["a"], seed=3)
    assert made.split("s") == again.split("s")
    other = patient_folds(table, 4, labels=["a"], seed=4)
    assert made.split("s") != other.split("s")
    pd.testing.assert_frame_equal(made.counts, again.counts)


def test_deviation_is_the_weighted_sum_by_hand():
    table = pd.DataFrame({"patient_id": list("abcde"), "y": list("uuuuv")})
    made = patient_folds(table, {"x": 0.5, "z": 0.5}, labels=["y"])
    counts = made.counts.to_numpy()
    assert sorted(counts[2]) == [0, 1] and list(counts[1]) == [2, 2]
    # All: |2 - 2.5| + |3 - 2.5| of 5; u: none; v: 0.5 + 0.5 of 1.
    assert made.deviation == pytest.approx(1 / 5 + 0 + 1)


def test_patients_without_a_label_and_missing_classes_are_told():
    table = pd.DataFrame(
        {"patient_id": list("abcdef"), "y": ["u", "u", "u", None, None, "w"]}
    )
    made = patient_folds(table, 2, labels=["y"])
    assert made.counts.loc[("y", "(none)")].tolist() == [1, 1]
    (note,) = made.notes
    assert note.startswith("y w (1 patients) is not in fold")


@pytest.mark.parametrize(
    ("folds", "message"),
    [
        (1, "1 folds: expected 2"),
        ({"a": 1.0}, "folds are a=1: expected 2"),
        ({"a": 1.2, "b": -0.2}, "a=1.2, b=-0.2: expected each above 0"),
        ({"a": 0.5, "b": 0.4}, "sum to 0.9: expected 1"),
        (7, "6 patients cannot fill 7 folds"),
        ({"a": 0.99, "b": 0.01}, "leave b without any"),
    ],
)
def test_folds_that_cannot_be_are_refused(folds, message):
    with pytest.raises(StudyError, match=message):
        patient_folds(cohort(0, 6, y=1), folds)


def test_bad_tables_are_refused():
    table = cohort(0, 6, y=2)
    with pytest.raises(StudyError, match="lack the columns z"):
        patient_folds(table, 2, labels=["y", "z"])
    twice = pd.concat([table, table.iloc[:2]])
    with pytest.raises(StudyError, match="2 patients have several rows, first P000"):
        patient_folds(twice, 2)


def test_fractions_are_read():
    assert parse_fractions("train=.6, val=0.4") == {"train": 0.6, "val": 0.4}
    for text in ("train", "train=x", "a=.5,a=.5", "=1", ""):
        with pytest.raises(StudyError, match="cannot read"):
            parse_fractions(text)
