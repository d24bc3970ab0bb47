"""Adds a split to a study that is there: pathjax data split.

    STUDY -> patients_of -> folds.py or site_folds.py -> Split -> add_split -> STUDY

splits/NAME.json is written first and study.json, which lists it with its checksum, last:
a process killed in between leaves the study as it was. One process at a time may add to
a study. A split that is there is never replaced, as results may have been made with it.
"""

import dataclasses
import shlex
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

import pandas as pd

import pathjax
from pathjax.data.folds import Folds, patient_folds
from pathjax.data.site_folds import site_folds
from pathjax.data.study import Split, Study, StudyError, read_frame, sha256
from pathjax.data.study_writer import SAFE_NAME
from pathjax.files import write_json


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
      study: whose patients.
      name: of the split.
      folds: how many equal folds, or fold name -> fraction.
      site_preserved: keep all patients of a site in one fold.
      stratify: class targets of the study to balance.
      seed: of the assignment.

    Returns:
      The split, and what `pathjax data split` prints: counts and notes.

    Raises:
      StudyError: the folds cannot be made, see `patient_folds` and `site_folds`.
      StudyError: the study lacks a target that is named, or it is no class.
    """
    patients, notes = patients_of(study, stratify, with_site=site_preserved)
    assign = site_folds if site_preserved else patient_folds
    made = assign(patients, folds, labels=stratify, seed=seed)
    told = str(folds) if isinstance(folds, int) else " ".join(
        f"{fold}={share:g}" for fold, share in folds.items()
    )  # fmt: skip
    note = f"folds: {told}; {'site-preserved' if site_preserved else 'by patient'}; "
    note += f"stratified by {', '.join(stratify) or 'nothing'}; seed {seed}"
    return made.split(name, note), dataclasses.replace(
        made, notes=(*notes, *made.notes)
    )


def patients_of(
    study: Study, targets: Sequence[str], *, with_site: bool = False
) -> tuple[pd.DataFrame, list[str]]:
    """A row per patient, with labels and site, and notes.

    The label of a patient is that of its samples, or tiles; where they differ the
    commonest, of equally common ones the first by name.

    Raises:
      StudyError: a target is unknown or no class.
      StudyError: a patient is at several sites, asked for with `with_site`.
    """
    problems = []
    for one in targets:
        if one not in study.targets:
            known = ", ".join(study.targets) or "none"
            problems.append(f"there is no target {one!r}; the study has {known}")
        elif study.targets[one].kind != "class":
            problems.append(f"target {one} is a number: wanted a class to stratify by")
    if problems:
        raise StudyError(f"study {study.name}: {'; '.join(problems)}")
    samples, notes = study.samples, []
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
        out["site"] = samples.drop_duplicates("patient_id").set_index("patient_id")[
            "site"
        ]
    for one in targets:
        frame = samples
        if study.targets[one].level == "tile":
            frame = read_frame(study.root / "tiles.parquet", ["patient_id", one])
        # Commonest first, equally common ones by name; the first of a patient stays.
        counts = frame.groupby(["patient_id", one], observed=True).size()
        counts = counts.rename("rows").reset_index().sort_values(
            ["patient_id", "rows", one], ascending=[True, False, True]
        )  # fmt: skip
        mixed = counts["patient_id"].duplicated(keep=False)
        labels = counts.drop_duplicates("patient_id").set_index("patient_id")[one]
        out[one] = labels.reindex(ids)
        if mixed.any():
            several = counts["patient_id"][mixed].unique()
            notes.append(
                f"{len(several)} patients have several {one}, first {several[0]}: the "
                "commonest counts"
            )
        if out[one].isna().any():
            notes.append(f"{int(out[one].isna().sum())} patients have no {one}")
    return out.reset_index(), notes


def add_split(study: Study, split: Split) -> tuple[Study, bool]:
    """Writes a split into a study.

    The study's fingerprint changes, as that of any change of its files does.

    Returns:
      The study as it is then, and False when the very same split was there already.

    Raises:
      StudyError: the name cannot be a file's or is taken by other folds, or the split
        does not fit the study.
    """
    if not SAFE_NAME.fullmatch(split.name):
        raise StudyError(
            f"{split.name!r} cannot name a split: letters, digits, '.', '_' and '-' "
            "only, and a letter or digit first"
        )
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
        raise StudyError(f"study {study.name}: {'; '.join(problems)}")
    name = f"splits/{split.name}.json"
    path = study.root / name
    entry = dataclasses.asdict(split)
    del entry["name"]
    write_json(path, entry)
    meta = dict(study.meta)
    meta["files"] = meta["files"] | {
        name: {"sha256": sha256(path), "bytes": path.stat().st_size}
    }
    meta["added"] = [
        *meta.get("added", ()),
        {
            "file": name,
            "pathjax": pathjax.__version__,
            "command": shlex.join([Path(sys.argv[0]).name, *sys.argv[1:]]),
        },
    ]
    write_json(study.root / "study.json", meta)
    return Study(study.root), True
