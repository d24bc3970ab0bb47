"""Reads labels of patients from tables and MAFs, and joins them.

    tables, MAFs -> claims (patient, label, value, source) -> labels, conflicts

A label on which all sources agree is used. One on which they disagree is left empty and
listed as a conflict; no source is preferred. What was given and not used is listed.
Does not read sites: tables have lost their leading zeros, the barcode has not.
"""

import csv
import dataclasses
import itertools
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import pandas as pd

from pathjax.data.tables import lookalikes, read_list
from pathjax.data.tables import read_table as read_any_table
from pathjax.data.tcga_barcodes import find
from pathjax.datasets.tcga.tables import TcgaError, first_few, opened
from pathjax.datasets.tcga.vocabulary import (
    ACCEPTED,
    CLASSES,
    MISSING,
    MUTATED,
    NON_SILENT,
    SILENT,
    WILD_TYPE,
    classes_of,
)

# The key of a table is the first of these that it has, in any spelling.
KEYS = ("patient_id", "sample_id", "slide_id")
COLUMNS = {
    **{label: label for label in CLASSES},
    "project_id": "cancer_type",  # GDC: TCGA-BRCA
    "oncotree_code": "oncotree",
    "TP53_mut": "tp53",
    "PAM50Call_RNAseq": "pam50",  # Xena's clinical matrix of BRCA
    "BRCA_Subtype_PAM50": "pam50",  # TCGAbiolinks' PanCancerAtlas_subtypes
}
OTHER_DATA = ("_rnaseq", "_cnv")  # endings of PORPOISE's columns: TP53_rnaseq
MOST_BAD = 0.5  # of the rows; a table with more is refused
COMMENTS = 50  # lines in which to look for a header
MAF_ROWS = 200_000  # read at a time; MC3 has 3.6 million
GENE, CLASS = "Hugo_Symbol", "Variant_Classification"
SAMPLE, FILTER = "Tumor_Sample_Barcode", "FILTER"


class Claim(NamedTuple):
    """What one source (a file's name, with the sample for MAFs) says of a patient."""

    patient: str
    label: str
    value: str
    source: str


@dataclasses.dataclass(frozen=True)
class Labels:
    """Labels of patients.

    Attributes:
      table: Indexed by patient; for each label a column of classes or None, and a
        column `<label>_source` with the names of its files.
      conflicts: The claims of labels that were left empty: patient, label, value,
        source.
      patients: The patients of each file.
      unused: Rows and columns that were not used, and why.
    """

    table: pd.DataFrame
    conflicts: pd.DataFrame
    patients: dict[str, set[str]] = dataclasses.field(default_factory=dict)
    unused: list[tuple[str, str]] = dataclasses.field(default_factory=list)


def read_labels(
    paths: Sequence[str | Path], sequenced: str | Path | None = None
) -> Labels:
    """Reads and joins tables and MAFs, distinguished by their columns.

    Args:
      paths: Tables of labels and MAFs.
      sequenced: File with one sequenced sample per line, for the MAFs. Without it a
        patient absent from a MAF has no TP53 status.

    Raises:
      TcgaError: Files cannot be used (all are named), or `sequenced` is given without
        a MAF.
    """
    samples = () if sequenced is None else read_sequenced(sequenced)
    claims: list[Claim] = []
    problems: list[str] = []
    unused: list[tuple[str, str]] = []
    patients: dict[str, set[str]] = {}
    mafs = 0
    for path in map(Path, paths):
        try:
            is_maf = _maf_header(path) is not None
            mafs += is_maf
            found = read_maf(path, samples) if is_maf else read_table(path, unused)
            patients.setdefault(path.name, set()).update(one.patient for one in found)
            claims += found
        except TcgaError as error:
            problems.append(str(error))
    if sequenced is not None and not mafs and not problems:
        problems.append(
            f"{sequenced} lists sequenced samples, but no MAF is among the labels: give "
            "the MAF too, or leave out the list"
        )
    if problems:
        raise TcgaError("\n".join(problems))
    joined = join(claims)
    return dataclasses.replace(joined, patients=patients, unused=unused)


def join(claims: Iterable[Claim]) -> Labels:
    """Joins claims: agreement gives a label, disagreement a conflict."""
    frame = pd.DataFrame(claims, columns=Claim._fields, dtype=object).drop_duplicates()
    agree = frame.groupby(["patient", "label"])["value"].transform("nunique") == 1
    patients = pd.Index(sorted(frame["patient"].unique()), name="patient")
    table = pd.DataFrame(index=patients)
    for label in CLASSES:
        groups = frame[agree & (frame["label"] == label)].groupby("patient")
        table[label] = groups["value"].first().reindex(patients)
        table[f"{label}_source"] = groups["source"].agg("; ".join).reindex(patients)
    table = table.astype(object)
    return Labels(
        table.astype(object).where(table.notna(), None),
        frame[~agree].sort_values(["patient", "label", "source"], ignore_index=True),
    )


def read_table(path: Path, unused: list[tuple[str, str]] | None = None) -> list[Claim]:
    """Reads a table with a row per patient, sample or slide.

    Rows of normal tissue and empty cells are ignored.

    Args:
      path: As `pathjax.data.tables.read_table` reads it.
      unused: Takes bad rows and cells, and columns that look like those of labels.

    Raises:
      TcgaError: The file cannot be read, lacks a key or label column, or most of its
        rows are bad.
    """
    bad: list[tuple[int, str]] = []
    try:
        table = read_any_table(path, (*KEYS, *COLUMNS), comment="#", bad_rows=bad)
    except ValueError as error:
        raise TcgaError(str(error)) from error
    key = next((name for name in KEYS if name in table), None)
    labels = [name for name in table.columns if name in COLUMNS]
    if key is None or not labels:
        raise TcgaError(
            f"{path} is not a table of labels: expected one of {', '.join(KEYS)} and at "
            f"least one of {', '.join(COLUMNS)}; got the columns "
            f"{first_few([name[:40] for name in table.columns], 8, ', ')}"
        )
    rows = len(table) + len(bad)
    if not rows:
        raise TcgaError(f"{path} has a header and no rows")
    claims: dict[Claim, None] = {}  # a set that keeps its order
    for line, row in zip(table.index, table.to_dict("records"), strict=True):
        found, faults = _row(row[key], {name: row[name] for name in labels}, path.name)
        claims |= dict.fromkeys(found)
        bad += [(line, fault) for fault in faults]
    problems = [f"line {line}: {fault}" for line, fault in sorted(bad)]
    if len({line for line, _ in bad}) > MOST_BAD * rows:
        raise TcgaError(
            f"{path} has {len(problems)} bad rows or cells:\n  - "
            + first_few(problems, 3, "\n  - ")
        )
    columns = lookalikes(table.columns, tuple(COLUMNS))
    columns = [name for name in columns if not name.endswith(OTHER_DATA)]
    if unused is not None:
        unused += [
            (f"line {line} of {path.name}", fault) for line, fault in sorted(bad)
        ]
        unused += [
            (
                f"column {name} of {path.name}",
                f"not read: expected {', '.join(COLUMNS)}",
            )
            for name in columns
        ]
    return list(claims)


def _row(
    name: str, cells: dict[str, str], source: str
) -> tuple[list[Claim], list[str]]:
    """The claims of one row, and its problems."""
    try:
        barcode = find(name)
    except ValueError as error:
        return [], [str(error)]
    claims, problems = [], []
    for column, text in cells.items():
        if barcode.is_normal or text.strip().lower() in MISSING:
            continue
        found = classes_of(COLUMNS[column], text)
        if found is None:
            words = ", ".join(CLASSES.get(COLUMNS[column], ("an OncoTree code",)))
            problems.append(f"{column}: expected one of {words}; got {text!r}")
            continue
        claims += [Claim(barcode.patient, *item, source) for item in found.items()]
    return claims, problems


def read_sequenced(path: str | Path) -> set[str]:
    """Reads a list of sequenced tumour samples, one barcode per line.

    Raises:
      TcgaError: The file cannot be read, or a line is not the barcode of a sample.
    """
    try:
        lines = read_list(Path(path))
    except ValueError as error:
        raise TcgaError(str(error)) from error
    samples = {line: _sample(line) for line in lines}
    bad = [repr(line[:40]) for line, sample in samples.items() if sample is None]
    found = set(filter(None, samples.values()))
    if bad or not found:
        raise TcgaError(
            f"{path}: expected one barcode per line of at least 15 characters, such as "
            f"TCGA-3C-AALI-01, got {first_few(bad, 5, ', ') or 'no tumour sample'}"
        )
    return found


def read_maf(path: Path, sequenced: Iterable[str] = ()) -> list[Claim]:
    """One claim on TP53 for each tumour sample that is known to be sequenced.

    Mutated: it has a non-silent TP53 variant that passed its caller's filters. Wild
    type: it has none, and has a row of any gene in the MAF or is in `sequenced`.

    Args:
      path: MC3 or the GDC's masked somatic mutations, plain or .gz.
      sequenced: Sequenced samples (15 characters), in the MAF or not.

    Raises:
      TcgaError: The file cannot be read, lacks a column, or has unknown variant classes
        or samples.
    """
    seen: set[str] = set()
    mutated: set[str] = set()
    problems: dict[str, None] = {}
    for rows in _maf_chunks(path):
        samples = {name: _sample(name) for name in rows[SAMPLE].unique()}
        seen |= set(filter(None, samples.values()))
        tp53 = rows[rows[GENE] == "TP53"]
        unknown = [f"sample {n!r}" for n, sample in samples.items() if sample is None]
        classes = sorted(set(tp53[CLASS]) - NON_SILENT - SILENT)
        unknown += [f"class {name!r} of TP53" for name in classes]
        problems |= dict.fromkeys(unknown)
        passed = tp53[FILTER].map(_passed).astype(bool) & tp53[CLASS].isin(NON_SILENT)
        mutated |= {samples[name] for name in tp53[SAMPLE][passed] if samples[name]}
    if problems:
        raise TcgaError(
            f"{path} has {len(problems)} unknown values: {first_few(list(problems))}. "
            "Expected samples such as TCGA-3C-AALI-01A-11D-A41B-09 and the classes "
            f"{', '.join(sorted(NON_SILENT | SILENT))}"
        )
    return [
        Claim(
            patient=sample[:12],
            label="tp53",
            value=MUTATED if sample in mutated else WILD_TYPE,
            source=f"{path.name} ({sample})",
        )
        for sample in sorted(seen | set(sequenced))
    ]


def _maf_header(path: Path) -> tuple[int, list[str]] | None:
    """Number of lines before the header, and its names; None if it is not a MAF."""
    with opened(path) as file:
        for number, line in enumerate(itertools.islice(file, COMMENTS)):
            names = line.decode("utf-8-sig", "replace").rstrip("\r\n").split("\t")
            if {GENE, SAMPLE} <= set(names):
                return number, names
    return None


def _maf_chunks(path: Path) -> Iterator[pd.DataFrame]:
    skipped, names = _maf_header(path) or (0, [])
    missing = [name for name in (GENE, CLASS, SAMPLE) if name not in names]
    if missing:
        raise TcgaError(f"{path} lacks the columns {', '.join(missing)} of a MAF")
    try:
        with opened(path) as file:
            for rows in pd.read_csv(
                file,
                sep="\t",
                skiprows=skipped,
                usecols=lambda name: name in (GENE, CLASS, SAMPLE, FILTER),
                dtype=str,
                keep_default_na=False,
                quoting=csv.QUOTE_NONE,  # 3'UTR, and quotes in annotations
                chunksize=MAF_ROWS,
                encoding="utf-8-sig",
            ):
                # A MAF without FILTER (cBioPortal's) has been filtered already.
                yield rows if FILTER in rows else rows.assign(**{FILTER: "PASS"})
    except (UnicodeDecodeError, pd.errors.ParserError) as error:
        raise TcgaError(f"{path} cannot be read as a MAF: {error}") from error


def _passed(flags: str) -> bool:
    return all(flag.strip() in ACCEPTED for flag in flags.replace(";", ",").split(","))


def _sample(name: str) -> str | None:
    """15 characters; "" for normal tissue; None if it is not the barcode of a sample."""
    try:
        barcode = find(name)
    except ValueError:
        return None
    return "" if barcode.is_normal else barcode.sample or None
