"""Reads labels of patients from tables and MAFs, and joins them.

    tables, MAFs (maf.py) -> claims, columns of CLAIM -> join -> labels, conflicts

A label on which all sources agree is used. One on which they disagree is left empty and
listed as a conflict; no source is preferred. What was given and not used is listed.
Does not read sites: tables have lost their leading zeros, the barcode has not.
"""

import dataclasses
import re
from collections.abc import Collection, Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from pathjax.data.followup import event_column
from pathjax.data.split import Target
from pathjax.data.tables import is_missing, lookalikes
from pathjax.data.tables import read_table as read_any_table
from pathjax.data.tcga_barcodes import find
from pathjax.datasets.tcga.followup import (
    FOLLOWUP,
    Followup,
    agree_on_followup,
    followups_in,
    split_followup,
)
from pathjax.datasets.tcga.maf import (
    CLAIM,
    count_mutated,
    maf_header,
    read_maf,
    read_sequenced,
)
from pathjax.datasets.tcga.tables import TcgaError, first_few
from pathjax.datasets.tcga.vocabulary import (
    CLASSES,
    DESCRIPTIONS,
    MUTATED,
    MUTATION,
    NUMBERS,
    WILD_TYPE,
    classes_of,
    labels_of_gene,
)
from pathjax.files import told_apart

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
# Columns of numbers, which make no table one of labels.
CLINICAL = {
    "age": "age",
    "age_at_initial_pathologic_diagnosis": "age",  # TCGA-CDR
    "ajcc_pathologic_tumor_stage": "stage",
    "stage": "stage",
}
WORDS = {
    "oncotree": "an OncoTree code",
    "age": "years up to 120",
    "stage": "a stage from I to IV",
}
GENE_COLUMN = re.compile(r"(.+)_mut")  # PORPOISE, HIPT: KRAS_mut
OTHER_DATA = ("_rnaseq", "_cnv")  # endings of PORPOISE's columns: TP53_rnaseq
MOST_BAD = 0.5  # of the rows; a table with more is refused


@dataclasses.dataclass(frozen=True)
class Labels:
    """Labels of patients.

    Attributes:
      table: Indexed by patient; for each label a column of classes, numbers or None, and a
        column `<label>_source` with the names of its files. Survival also has events.
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
    paths: Sequence[str | Path],
    sequenced: str | Path | None = None,
    mutations: Sequence[str] = (),
) -> Labels:
    """Reads and joins tables and MAFs, distinguished by their columns.

    Args:
      paths: Tables of labels and MAFs.
      sequenced: File with one sequenced sample per line, for the MAFs. Without it a
        patient absent from a MAF has no TP53 status.
      mutations: Genes whose status is a label `mutation:GENE`; or one number, for all
        genes that are mutated in at least so many patients.

    Raises:
      TcgaError: Files cannot be used (all are named), or `sequenced` is given without
        a MAF.
    """
    samples = () if sequenced is None else read_sequenced(sequenced)
    claims = [pd.DataFrame(columns=list(CLAIM), dtype=object)]
    problems: list[str] = []
    unused: list[tuple[str, str]] = []
    patients: dict[str, set[str]] = {}
    mafs = 0
    genes = wanted_genes(paths, mutations)
    for path, name in told_apart(map(Path, paths)).items():
        try:
            is_maf = maf_header(path) is not None
            mafs += is_maf
            if is_maf:
                found = read_maf(path, samples, genes, name)
            else:
                found = read_table(path, unused, genes, name)
            patients[name] = set(found["patient"])
            claims.append(found)
        except TcgaError as error:
            problems.append(str(error))
    if sequenced is not None and not mafs and not problems:
        problems.append(
            f"{sequenced} lists sequenced samples, but no MAF is among the labels: give "
            "the MAF too, or leave out the list"
        )
    if problems:
        raise TcgaError("\n".join(problems))
    every = pd.concat(claims, ignore_index=True)
    known = set(every["label"].unique())
    absent = [gene for gene in genes if MUTATION + gene not in known]
    unused += [(f"mutation {gene}", "no table and no MAF has it") for gene in absent]
    joined = join(every)
    return dataclasses.replace(joined, patients=patients, unused=unused)


def wanted_genes(paths: Sequence[str | Path], mutations: Sequence[str]) -> list[str]:
    """The genes named, or those of which enough patients have a mutation.

    Raises:
      TcgaError: No gene has as many.
    """
    if len(mutations) != 1 or not mutations[0].isdigit():
        return list(dict.fromkeys(mutations))
    found = [pd.DataFrame(columns=["gene", "patient"], dtype=object)]
    for path in map(Path, paths):
        try:
            found.append(count_mutated(path) if maf_header(path) else _mutated_in(path))
        except (TcgaError, ValueError):
            continue  # reported when its labels are read
    count = pd.concat(found).drop_duplicates()["gene"].value_counts()
    genes = sorted(count.index[count >= int(*mutations)])
    if not genes:
        raise TcgaError(
            f"no gene is mutated in {mutations[0]} patients, the most are "
            f"{count.max() if len(count) else 0}: give a smaller number, or tables with "
            "columns GENE_mut, or MAFs"
        )
    return genes


def _mutated_in(path: Path) -> pd.DataFrame:
    """`gene` and `patient` of each mutation in a table's columns, as of `count_mutated`."""
    table = read_any_table(path, KEYS, comment="#", bad_rows=[])
    key = next((name for name in KEYS if name in table), None)
    if key is None:
        return pd.DataFrame(columns=["gene", "patient"], dtype=object)
    patient, _ = _tumours(table[key])
    genes = [name for name in table.columns if _gene(name)]
    cells = table[genes].to_numpy(dtype=object)
    code, words = pd.factorize(cells.reshape(-1))
    hit = [classes_of("tp53", word) == {"tp53": MUTATED} for word in words]
    mutated = np.array(hit, bool)[code].reshape(cells.shape)
    rows, columns = np.nonzero(mutated & (patient != "")[:, None])
    names = np.array([_gene(name) for name in genes], object)
    return pd.DataFrame({"gene": names[columns], "patient": patient[rows]})


def _tumours(keys: pd.Series) -> tuple[np.ndarray, list[tuple[int, str]]]:
    """Patient of each row, "" of normal tissue; and the lines without a barcode."""
    code, names = pd.factorize(keys)
    patient, bad = np.full(len(names), "", object), []
    for place, name in enumerate(names):
        try:
            barcode = find(name)
        except ValueError as error:
            bad += [(line, str(error)) for line in keys.index[code == place]]
            continue
        patient[place] = "" if barcode.is_normal else barcode.patient
    return patient[code], bad


def targets_of(table: pd.DataFrame) -> list[Target]:
    """The targets of samples that a joined table, or part of it, has values for."""
    targets = []
    for name in [one for one in table.columns if not one.endswith("_source")]:
        if not table[name].notna().any():
            continue
        if name in FOLLOWUP:
            text = f"{FOLLOWUP[name]}: months, and 1 for the event in {name}_event"
            targets.append(Target(name, "sample", "survival", (), text))
        elif name in NUMBERS:
            targets.append(Target(name, "sample", "number", (), NUMBERS[name]))
        elif name in CLASSES or name.startswith(MUTATION):
            known = CLASSES.get(name, (MUTATED, WILD_TYPE))
            classes = tuple(one for one in known if (table[name] == one).any())
            gene = name.removeprefix(MUTATION)
            text = DESCRIPTIONS.get(name, f"{gene} mutated (non-silent), or wild type")
            targets.append(Target(name, "sample", "class", classes, text))
    return targets


def join(claims: pd.DataFrame) -> Labels:
    """Joins claims: agreement gives a label, disagreement a conflict.

    Args:
      claims: Columns CLAIM.
    """
    frame = claims.drop_duplicates(ignore_index=True)
    patients = pd.Index(sorted(frame["patient"].unique()), name="patient")
    others = sorted(set(frame["label"].unique()) - set(CLASSES))
    labels = pd.Index([*CLASSES, *others], dtype=object)
    row = patients.get_indexer(frame["patient"])
    column = labels.get_indexer(frame["label"])
    cell = pd.Series(row * len(labels) + column)
    words = pd.Series(pd.factorize(frame["value"])[0]).groupby(cell)
    agree = words.transform("min") == words.transform("max")
    agree |= agree_on_followup(frame[~agree]).reindex(frame.index, fill_value=False)
    # The first claim on a cell, and the files of all.
    first = agree & ~cell[agree].duplicated().reindex(frame.index, fill_value=True)
    sources = frame["source"].copy()
    several = agree & cell.duplicated(keep=False)
    joined = sources[several].groupby(cell[several]).agg("; ".join)
    sources[several] = cell[several].map(joined).astype(object)
    shape = (len(patients), len(labels))
    value, source = np.full(shape, None, object), np.full(shape, None, object)
    for cells, known in ((value, frame["value"]), (source, sources)):
        cells[row[first], column[first]] = known[first]
    columns: dict[str, pd.Series] = {}
    for place, label in enumerate(labels):
        values = pd.Series(value[:, place], patients, dtype=object)
        if label in FOLLOWUP:
            columns[label], columns[event_column(label)] = split_followup(values)
        else:
            columns[label] = values.astype(float) if label in NUMBERS else values
        columns[f"{label}_source"] = pd.Series(source[:, place], patients, dtype=object)
    table = pd.DataFrame(columns, index=patients).astype(object)
    return Labels(
        table.where(table.notna(), None),
        frame[~agree].sort_values(["patient", "label", "source"], ignore_index=True),
    )


def read_table(
    path: Path,
    unused: list[tuple[str, str]] | None = None,
    genes: Collection[str] = (),
    name: str = "",
) -> pd.DataFrame:
    """The claims of a table with a row per patient, sample or slide.

    Rows of normal tissue and empty cells are ignored.

    Args:
      path: As `pathjax.data.tables.read_table` reads it.
      unused: Takes bad rows and cells, and columns that look like those of labels.
      genes: Whose columns GENE_mut are labels too.
      name: Of the file in claims and in `unused`; "" for its own.

    Raises:
      TcgaError: The file cannot be read, lacks a key or label column, or most of its
        rows are bad.
    """
    bad: list[tuple[int, str]] = []
    source = name or path.name
    try:
        names = (*KEYS, *COLUMNS, *CLINICAL)
        table = read_any_table(path, names, comment="#", bad_rows=bad)
    except ValueError as error:
        raise TcgaError(str(error)) from error
    key = next((name for name in KEYS if name in table), None)
    labels = [name for name in table.columns if name in COLUMNS]
    genes = set(genes) - {""}
    mutations = [name for name in table.columns if _gene(name) in genes]
    followups = followups_in(table, path)
    if key is None or not (labels or mutations or followups):
        raise TcgaError(
            f"{path} is not a table of labels: expected one of {', '.join(KEYS)} and at "
            f"least one of {', '.join(COLUMNS)}; got the columns "
            f"{first_few([name[:40] for name in table.columns], 8, ', ')}"
        )
    rows = len(table) + len(bad)
    if not rows:
        raise TcgaError(f"{path} has a header and no rows")
    labels += [name for name in table.columns if name in CLINICAL]
    labels = list(dict.fromkeys([*labels, *mutations]))
    claims, faults = _claims(table, key, labels, followups, source, genes)
    bad += faults
    problems = [f"line {line}: {fault}" for line, fault in sorted(bad)]
    if len({line for line, _ in bad}) > MOST_BAD * rows:
        raise TcgaError(
            f"{path} has {len(problems)} bad rows or cells:\n  - "
            + first_few(problems, 3, "\n  - ")
        )
    columns = lookalikes(table.columns, tuple(COLUMNS))
    columns = [name for name in columns if not name.endswith(OTHER_DATA)]
    if unused is not None:
        why = f"not read: expected {', '.join(COLUMNS)}"
        unused += [(f"line {line} of {source}", fault) for line, fault in sorted(bad)]
        unused += [(f"column {column} of {source}", why) for column in columns]
    return claims


def _gene(column: str) -> str:
    """KRAS of KRAS_mut, else ""."""
    gene = GENE_COLUMN.fullmatch(column)
    return gene[1] if gene else ""


def _values(column: str, text: str, genes: Collection[str]) -> dict[str, str] | None:
    """The labels that follow from a cell of a column; None if it is no word of it."""
    if column in CLINICAL:
        return classes_of(CLINICAL[column], text)
    found = classes_of(COLUMNS.get(column, "tp53"), text)
    gene = _gene(column)
    if found is None or not gene:
        return found
    return dict.fromkeys(labels_of_gene(gene, genes), found["tp53"])


def _claims(
    table: pd.DataFrame,
    key: str,
    labels: Sequence[str],
    followups: Sequence[Followup],
    source: str,
    genes: Collection[str],
) -> tuple[pd.DataFrame, list[tuple[int, str]]]:
    """Claims of the columns, row by row, and lines with what is wrong with them.

    A column's words are looked up once each, not cell by cell: tables have a thousand
    columns of mutations.
    """
    lines = table.index.to_numpy()
    patient, bad = _tumours(table[key])
    read = patient != ""
    parts: list[tuple[np.ndarray, int, str, str]] = []  # rows, column, label, value
    for place, column in enumerate(labels):
        code, words = pd.factorize(table[column].where(read, ""))
        for number, word in enumerate(words):
            rows = np.flatnonzero(code == number)
            if is_missing(word):
                continue
            values = _values(column, word, genes)
            if values is None:
                fault = f"{column}: expected one of {_words(column)}; got {word!r}"
                bad += [(line, fault) for line in lines[rows]]
                continue
            parts += [(rows, place, *item) for item in values.items()]
    pairs = table[[name for pair in followups for name in pair.columns]]
    cells = pairs.to_dict("records")
    for place, pair in enumerate(followups, start=len(labels)):
        for one in np.flatnonzero(read):
            said, fault = pair.value(cells[one])
            if said:
                parts.append((np.array([one]), place, pair.label, said))
            bad += [(lines[one], fault)] * bool(fault)
    sizes = np.array([len(rows) for rows, *_ in parts], np.int64)
    row = np.concatenate([np.zeros(0, np.int64), *(rows for rows, *_ in parts)])
    order = np.lexsort((np.repeat([one[1] for one in parts], sizes), row))
    label, value = (
        np.repeat(np.array([one[place] for one in parts], object), sizes)[order]
        for place in (2, 3)
    )
    claims = pd.DataFrame(
        dict(zip(CLAIM, (patient[row[order]], label, value, source), strict=True)),
        dtype=object,
    )
    return claims.drop_duplicates(ignore_index=True), bad


def _words(column: str) -> str:
    """What a column may say."""
    label = CLINICAL.get(column) or COLUMNS.get(column, "tp53")
    return ", ".join(CLASSES.get(label) or (WORDS[label],))
