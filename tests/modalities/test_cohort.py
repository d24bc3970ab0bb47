"""Questions are read, and cohorts that cannot be asked are refused."""

import dataclasses

import numpy as np
import pytest

from pathjax.modalities.cohort import Modality, ModalityError


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
