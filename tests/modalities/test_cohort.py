"""Questions are read, and cohorts that cannot be asked are refused."""

import dataclasses

import numpy as np
import pytest

from pathjax.data.study import Target
from pathjax.modalities.cohort import Modality, ModalityError
from pathjax.modalities.run import Options, ask, tells


def test_questions_name_a_target_and_who_is_asked(cohort):
    one = cohort.question("kind@other=u")
    assert (one.target, one.kind, one.where) == ("kind", "class", ("other", "u"))
    asked = cohort.answered(one)
    assert (cohort.samples["other"][asked] == "u").all() and asked.sum() == 30
    assert cohort.question("size").kind == "number"
    assert cohort.question("expression").kind == "expression"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("kinds", "did you mean 'kind'"),
        ("kind@size=1", "not a target with classes"),
        ("kind@other=w", "no sample has other=w"),
    ],
)
def test_other_questions_are_refused(cohort, text, message):
    with pytest.raises(ModalityError, match=message):
        cohort.question(text)


def test_rows_are_found_by_number(cohort):
    text = cohort.modalities["text"]
    part = Modality("text", text.rows[10:], text.values[10:])
    np.testing.assert_array_equal(part.at(np.array([12, 40])), text.values[[12, 40]])
    for rows in ([3, 12], [60]):
        with pytest.raises(ModalityError, match="lacks some"):
            part.at(np.array(rows))


def test_all_that_is_wrong_is_told(cohort):
    bad = cohort.modalities["text"].values.copy()
    bad[4, 0] = np.nan
    samples = cohort.samples.assign(sample_id="S000")
    with pytest.raises(ModalityError, match=r"(?s)occur twice.*not finite.*S000"):
        dataclasses.replace(
            cohort,
            samples=samples,
            modalities={"text": Modality("text", np.arange(60), bad)},
        )


def known_clinically(cohort, **columns):
    targets = {
        name: Target(name, "sample", "class" if name == "cancer_type" else "number")
        for name in columns
    }
    samples = cohort.samples.assign(**columns)
    return dataclasses.replace(
        cohort, samples=samples, targets={**cohort.targets, **targets}
    ).with_baselines()


def test_the_clinical_baseline_is_what_most_samples_have(cohort):
    """It ended where no sample had both, and left few rows to all where few had."""
    number = np.arange(60.0)
    for both in (0, 5):
        age = np.where(number < 35 + both, number, np.nan)
        stage = np.where(number < 35, np.nan, 2.0)
        found = known_clinically(cohort, age=age, stage=stage)
        assert found.modalities["clinical"].columns == ("age",)
        assert len(found.modalities["clinical"]) == 35 + both
        note = f"clinical is age alone: {both} samples have age and stage"
        assert found.notes == (note,)
    every = known_clinically(cohort, age=number, stage=number)
    assert every.modalities["clinical"].columns == ("age", "stage") and not every.notes
    lost = np.full(60, np.nan)
    with pytest.raises(ModalityError, match="neither age, stage nor"):
        known_clinically(cohort, age=lost)


def test_a_sample_of_unknown_type_has_no_type(cohort):
    """Zeros would be one more type, and one type and unknown ones would be two."""
    kinds = np.array(["X", "Y", None] * 20, object)
    found = known_clinically(cohort, cancer_type=kinds)
    one_hot = found.modalities["type"]
    assert len(one_hot) == 40 and (one_hot.values.sum(axis=1) == 1).all()
    asked = ask(found, found.question("kind"), Options())
    assert tells(found, "type", asked)
    alone = dataclasses.replace(
        asked, rows=asked.rows[kinds != "Y"], truth=asked.truth[kinds != "Y"]
    )
    assert not tells(found, "type", alone)
