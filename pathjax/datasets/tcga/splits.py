"""The splits of a TCGA study: who trains, and on whom every task is scored.

    cohort     train, val | probe_fit, probe_test    half of the patients train
    probe_cv   folds over probe_fit and probe_test   cross-validates a tuned model
    cv5        folds over everyone                   only for models not tuned on them

Patients are split once for all tasks: the training fold of "cohort" has no patient that
any task of TCGA is tested on, nor, by default, one of their sites. `folds.py` and
`site_folds.py` assign patients.
"""

from collections.abc import Sequence

import pandas as pd

from pathjax.data.folds import patient_folds
from pathjax.data.site_folds import site_folds
from pathjax.data.study import Split, StudyError

FRACTIONS = {"train": 0.5, "val": 0.1, "probe_fit": 0.2, "probe_test": 0.2}
PROBING = ("probe_fit", "probe_test")
FOLDS = 5
# Fewest patients in a fold of probe_cv, which has fewer folds if necessary: a fold
# without one of a task's classes tests nothing.
LEAST = 4
LABELS = ("cancer_type", "tp53")  # whose classes are balanced


def tcga_splits(
    samples: pd.DataFrame, *, site_preserved: bool = True, seed: int = 0
) -> tuple[list[Split], dict[str, str]]:
    """Makes the splits for which there are enough patients.

    Args:
      samples: A row per patient: patient_id, site, and LABELS (None where unknown).
      site_preserved: "cohort" keeps whole sites in one fold. Where that is impossible
        it is by patient, and its note says why. The cross-validations are by patient:
        they are for studies in which a class may be at one site.
      seed: Of the assignment.

    Returns:
      The splits; and name to reason of those that could not be made.
    """
    labels = [name for name in LABELS if samples[name].notna().any()]
    options = {"labels": labels, "seed": seed}
    splits: list[Split] = []
    faults: dict[str, str] = {}
    by_site, why = site_preserved, ""
    try:
        try:
            if by_site:
                cohort = site_folds(samples, FRACTIONS, **options)
        except StudyError as error:
            by_site, why = False, f"whole sites could not be kept together: {error}"
        if not by_site:
            cohort = patient_folds(samples, FRACTIONS, **options)
        splits.append(cohort.split("cohort", _note(by_site, why, cohort.notes)))
    except StudyError as error:
        faults["cohort"] = str(error)
    held = [one for split in splits for fold in PROBING for one in split.folds[fold]]
    held_out = samples[samples["patient_id"].isin(held)]
    for name, patients, folds in (
        ("cv5", samples, FOLDS),
        ("probe_cv", held_out, min(FOLDS, max(2, len(held_out) // LEAST))),
    ):
        try:
            made = patient_folds(patients, folds, **options)
            splits.append(made.split(name, _note(False, "", made.notes)))
        except StudyError as error:
            faults[name] = str(error)
    return splits, faults


def _note(by_site: bool, why: str, notes: Sequence[str]) -> str:
    unit = "whole sites" if by_site else "patients, whose sites are in several folds"
    return "; ".join(part for part in (f"by {unit}", why, *notes) if part)
