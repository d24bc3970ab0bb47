"""Adds a split to an existing study: pathjax data split.

splits/NAME.json is written first and study.json, which lists it with its checksum, last:
a process killed in between leaves the study as it was. One process at a time may add to
a study. A split is never replaced, as results may have been made with it.
"""

import dataclasses
from collections.abc import Mapping, Sequence

import pandas as pd

from pathjax.data.additions import record
from pathjax.data.folds import Folds, patient_folds
from pathjax.data.followup import event_column
from pathjax.data.site_folds import site_folds
from pathjax.data.study import Split, Study, StudyError, listing
from pathjax.data.study_tables import read_frame
from pathjax.data.study_writer import check_name, write_split
from pathjax.data.tables import alike


def make_split(
    study: Study,
    name: str,
    folds: int | Mapping[str, float],
    *,
    site_preserved: bool = False,
    stratify: Sequence[str] = (),
    seed: int = 0,
) -> tuple[Split, Folds]:
    """Assigns a study's patients to folds; nothing is written.

    Args:
      study: Whose patients.
      name: Of the split.
      folds: Number of equal folds, or fold name -> fraction.
      site_preserved: Keeps all patients of a site in one fold.
      stratify: Class targets of the study to balance, or survival ones, by events.
      seed: Of the assignment.

    Returns:
      The split, and what `pathjax data split` prints: counts and notes.

    Raises:
      StudyError: The folds cannot be made, or a target is missing or no class.
    """
    patients, notes = patients_of(study, stratify, with_site=site_preserved)
    assign = site_folds if site_preserved else patient_folds
    made = assign(patients, folds, labels=stratify, seed=seed)
    if isinstance(folds, int):
        shares = str(folds)
    else:
        shares = " ".join(f"{fold}={share:g}" for fold, share in folds.items())
    note = f"folds: {shares}; {'site-preserved' if site_preserved else 'by patient'}; "
    note += f"stratified by {', '.join(stratify) or 'nothing'}; seed {seed}"
    return made.split(name, note), dataclasses.replace(
        made, notes=(*notes, *made.notes)
    )


def patients_of(
    study: Study, targets: Sequence[str], *, with_site: bool = False
) -> tuple[pd.DataFrame, list[str]]:
    """A row per patient, with labels and site, and notes.

    A patient has the commonest label of its samples, or tiles; of equally common ones
    the first by name.

    Raises:
      StudyError: A target is unknown or no class, or, `with_site`, a patient is at
        several sites.
    """
    problems = []
    for name in targets:
        if name not in study.targets:
            known = ", ".join(study.targets) or "none"
            problems.append(f"there is no target {name!r}; the study has {known}")
        elif study.targets[name].kind == "number":
            problems.append(f"target {name} is a number: expected a class")
    if problems:
        raise StudyError(f"study {study.name}: {listing(problems)}")
    samples = study.samples
    notes = [
        f"patients {', '.join(group)} differ only by case, leading zeros or '.0': if "
        "they are one, its tiles may be in several folds"
        for group in alike(samples["patient_id"])
    ]
    ids = pd.Index(sorted(samples["patient_id"].unique()), name="patient_id")
    out = pd.DataFrame(index=ids)
    if with_site:
        sites = samples.groupby("patient_id")["site"].nunique()
        several = sorted(sites.index[sites > 1])
        if several:
            raise StudyError(
                f"{len(several)} patients are at several sites, first {several[:3]}: "
                "folds that keep sites whole need one site per patient"
            )
        first = samples.drop_duplicates("patient_id").set_index("patient_id")
        out["site"] = first["site"]
    for name in targets:
        frame = samples
        if study.targets[name].level == "tile":
            frame = read_frame(study.root / "tiles.parquet", ["patient_id", name])
        if study.targets[name].kind == "survival":
            events = samples[event_column(name)].map({0: "censored", 1: "event"})
            frame = samples.assign(**{name: events})
        # Commonest first, equally common ones by name; the first of a patient stays.
        counts = frame.groupby(["patient_id", name], observed=True).size()
        counts = counts.rename("rows").reset_index().sort_values(
            ["patient_id", "rows", name], ascending=[True, False, True]
        )  # fmt: skip
        mixed = counts["patient_id"].duplicated(keep=False)
        labels = counts.drop_duplicates("patient_id").set_index("patient_id")[name]
        out[name] = labels.reindex(ids)
        if mixed.any():
            several = counts["patient_id"][mixed].unique()
            notes.append(
                f"{len(several)} patients have several {name}, first {several[0]}: the "
                "commonest counts"
            )
        if out[name].isna().any():
            notes.append(f"{int(out[name].isna().sum())} patients have no {name}")
    return out.reset_index(), notes


def add_split(study: Study, split: Split) -> tuple[Study, bool]:
    """Writes a split into a study, which changes the study's fingerprint.

    Returns:
      The changed study, and False when the very same split was there already.

    Raises:
      StudyError: The name cannot be a file's or is taken by other folds, or the split
        does not fit the study.
    """
    check_name(split.name, "split")
    if split.name in study.split_names:
        there = study.split(split.name)
        if dataclasses.replace(there, note=split.note) == split:
            return study, False
        raise StudyError(
            f"study {study.name} has a split {split.name!r} already, with other folds "
            f"({there.note or 'no note'}): choose another name"
        )
    problems = split.problems(
        study.samples if split.unit == "patient_id" else study.tiles
    )
    if problems:
        raise StudyError(f"study {study.name}: {listing(problems)}")
    path = write_split(study.root, split)
    return record(study, str(path.relative_to(study.root))), True
