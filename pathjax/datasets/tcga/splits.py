"""The splits of a TCGA study: who trains, and on whom every task is scored.

    patients (site, cancer type, TP53) -> cohort, cv5, probe_cv; what was not made, why

Patients are split once, whatever the task: the training fold of "cohort" holds no
patient that any task of TCGA is tested on, nor, by default, one of their sites.

    cohort     train, val | probe_fit, probe_test    half of the patients train
    probe_cv   folds over probe_fit and probe_test   cross-validates a tuned model
    cv5        folds over everyone                   only for models not tuned on them

Assignment itself is in `folds.py` and `site_folds.py`.
"""

from collections.abc import Sequence

import pandas as pd

from pathjax.data.folds import Folds, patient_folds
from pathjax.data.site_folds import site_folds
from pathjax.data.study import Split, StudyError

FRACTIONS = {"train": 0.5, "val": 0.1, "probe_fit": 0.2, "probe_test": 0.2}
TUNING, PROBING = ("train", "val"), ("probe_fit", "probe_test")
FOLDS = 5
# probe_cv has fewer folds where they would be of fewer patients: a fold without one of
# a task's classes tests nothing.
LEAST = 4
LABELS = ("cancer_type", "tp53")  # whose classes are balanced


def tcga_splits(
    samples: pd.DataFrame, *, site_preserved: bool = True, seed: int = 0
) -> tuple[list[Split], dict[str, str]]:
    """Makes the splits that there are patients enough for.

    Args:
      samples: a row per patient: patient_id, site, and LABELS (None where unknown).
      site_preserved: "cohort" keeps whole sites in one fold. Where that cannot be done
        it is by patient, and its note says why. The cross-validations are by patient:
        they are for studies in which a class may be at one site.
      seed: of the assignment.

    Returns:
      The splits; and name to reason of those that could not be made.
    """
    labels = [name for name in LABELS if samples[name].notna().any()]
    splits: list[Split] = []
    faults: dict[str, str] = {}
    by_site = False
    try:
        cohort, by_site, why = _cohort(samples, labels, site_preserved, seed)
        splits.append(cohort.split("cohort", _note(cohort, by_site, why)))
    except StudyError as error:
        faults["cohort"] = str(error)
    held = [one for split in splits for fold in PROBING for one in split.folds[fold]]
    held_out = samples[samples["patient_id"].isin(held)]
    for name, patients, folds in (
        ("cv5", samples, FOLDS),
        ("probe_cv", held_out, min(FOLDS, max(2, len(held_out) // LEAST))),
    ):
        try:
            made = patient_folds(patients, folds, labels=labels, seed=seed)
            splits.append(made.split(name, _note(made, False, "")))
        except StudyError as error:
            faults[name] = str(error)
    found = leaks(splits, samples, by_site)
    if found:
        raise StudyError("the splits leak: " + "; ".join(found))
    return splits, faults


def _cohort(
    samples: pd.DataFrame, labels: Sequence[str], site_preserved: bool, seed: int
) -> tuple[Folds, bool, str]:
    """The folds, whether they keep sites together, and if not though asked for, why."""
    why = ""
    if site_preserved:
        try:
            return site_folds(samples, FRACTIONS, labels=labels, seed=seed), True, ""
        except StudyError as error:
            why = f"whole sites could not be kept together: {error}"
    return patient_folds(samples, FRACTIONS, labels=labels, seed=seed), False, why


def _note(folds: Folds, by_site: bool, why: str) -> str:
    unit = "whole sites" if by_site else "patients, whose sites are in several folds"
    parts = [f"by {unit}", why, *folds.notes]
    return "; ".join(part for part in parts if part)


def leaks(splits: Sequence[Split], samples: pd.DataFrame, by_site: bool) -> list[str]:
    """Patients, and if `by_site` sites, both tuned on and probed; empty when none."""
    named = {split.name: split for split in splits}
    if "cohort" not in named:
        return []
    cohort = named["cohort"].folds
    tuned = {one for fold in TUNING for one in cohort[fold]}
    probed = {one for fold in PROBING for one in cohort[fold]}
    if "probe_cv" in named:
        probed |= {one for ids in named["probe_cv"].folds.values() for one in ids}
    found = []
    if tuned & probed:
        found.append(f"patients {sorted(tuned & probed)[:3]} are tuned on and probed")
    site = samples.set_index("patient_id")["site"]
    shared = set(site[sorted(tuned)]) & set(site[sorted(probed)])
    if by_site and shared:
        found.append(f"sites {sorted(shared)[:3]} are tuned on and probed")
    return found
