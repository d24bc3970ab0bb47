"""Joins report texts to a study's samples and puts reports.parquet into the study.

    Reports -> match -> add_reports -> STUDY/reports.parquet, study.json

study.json is written last and lists the file with its checksum. Reports that are there
are replaced only when asked for: they are first taken out of study.json, so that a
process killed at any moment leaves a whole study, with or without reports.
"""

import dataclasses
import shlex
import sys
from pathlib import Path

import pandas as pd

import pathjax
from pathjax.data.study import Study, sha256
from pathjax.data.text_store import TextError
from pathjax.files import atomic_path, write_json
from pathjax.text.reports import Reports

FILE = "reports.parquet"


@dataclasses.dataclass(frozen=True)
class Joined:
    """Reports of a study's samples.

    Attributes:
      texts: columns `sample_id` and `text`, in the order of the study's samples.
      unmatched: ids of reports that are of no sample of the study.
      without: samples that have no report.
      notes: what a person should know.
    """

    texts: pd.DataFrame
    unmatched: tuple[str, ...]
    without: tuple[str, ...]
    notes: tuple[str, ...] = ()


def match(study: Study, reports: Reports) -> Joined:
    """Finds the sample or patient of each report.

    A patient's report goes to all samples of the patient.

    Raises:
      TextError: no report is of the study.
    """
    samples = study.samples
    ids = samples[reports.kind].astype(str)
    by_id = reports.texts.set_index("id")["text"]
    found = ids.isin(by_id.index)
    unmatched = tuple(sorted(set(by_id.index) - set(ids)))
    if not found.any():
        raise TextError(
            f"none of {len(by_id)} reports is of study {study.name}: they are of "
            f"{reports.kind}s such as {list(by_id.index[:3])}, the study has "
            f"{sorted(set(ids))[:3]}"
        )
    texts = pd.DataFrame(
        {
            "sample_id": samples["sample_id"][found].astype(str).to_numpy(),
            "text": ids[found].map(by_id).to_numpy(),
        }
    )
    notes = []
    owners = samples["patient_id"][found]
    if reports.kind == "patient_id" and owners.duplicated().any():
        notes.append(
            f"{len(owners)} samples of {owners.nunique()} patients: the samples of a "
            "patient share the report, and say nothing apart from each other"
        )
    without = tuple(samples["sample_id"][~found].astype(str))
    return Joined(texts, unmatched, without, tuple(notes))


def add_reports(
    study: Study, joined: Joined, source: dict[str, str], *, replace: bool = False
) -> tuple[Study, bool]:
    """Writes reports into a study. Its fingerprint changes by it.

    Args:
      study: whose samples they are.
      joined: the reports.
      source: file and SHA-256 they came from; goes into study.json.
      replace: other reports that are there.

    Returns:
      The study as it is then, and False when the very same reports were there.

    Raises:
      TextError: the study has other reports.
    """
    meta = dict(study.meta)
    if FILE in meta["files"]:
        there = study.reports().astype(str)
        if there.reset_index(drop=True).equals(joined.texts.astype(str)):
            return study, False
        if not replace:
            raise TextError(
                f"study {study.name} has {len(there)} other reports already: name "
                "--replace to write over them"
            )
        meta["files"] = {k: v for k, v in meta["files"].items() if k != FILE}
        write_json(study.root / "study.json", meta)
    path = study.root / FILE
    with atomic_path(path) as partial:
        joined.texts.to_parquet(partial, index=False)
    entry = {"sha256": sha256(path), "bytes": path.stat().st_size}
    meta["files"] = meta["files"] | {FILE: entry}
    added = {
        "file": FILE,
        "source": source,
        "pathjax": pathjax.__version__,
        "command": shlex.join([Path(sys.argv[0]).name, *sys.argv[1:]]),
    }
    meta["added"] = [*meta.get("added", ()), added]
    write_json(study.root / "study.json", meta)
    return Study(study.root), True
