"""Reads MAFs: which sequenced tumour has a non-silent mutation of which gene.

    MAF, genes -> read_maf -> claims (patient, label, value, source)

A sample is wild type for a gene if it has no such mutation and is known to be sequenced.
"""

import csv
import itertools
from collections.abc import Collection, Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

import pandas as pd

from pathjax.data.tables import read_list
from pathjax.data.tcga_barcodes import find
from pathjax.datasets.tcga.tables import TcgaError, first_few, opened
from pathjax.datasets.tcga.vocabulary import (
    ACCEPTED,
    MUTATED,
    NON_SILENT,
    SILENT,
    WILD_TYPE,
    labels_of_gene,
)

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


def read_maf(
    path: Path, sequenced: Iterable[str] = (), genes: Collection[str] = ()
) -> list[Claim]:
    """A claim on TP53 and on each of the genes for each sequenced tumour sample.

    Mutated: it has a non-silent variant that passed its caller's filters. Wild type: it
    has none, and has a row of any gene in the MAF or is in `sequenced`.

    Args:
      path: MC3 or the GDC's masked somatic mutations, plain or .gz.
      sequenced: Sequenced samples (15 characters), in the MAF or not.
      genes: Symbols as the MAF has them.

    Raises:
      TcgaError: The file cannot be read, lacks a column, or has unknown variant classes
        or samples.
    """
    wanted = {"TP53", *genes}
    seen: set[str] = set()
    mutated: set[tuple[str, str]] = set()
    problems: dict[str, None] = {}
    for rows in maf_chunks(path):
        samples = {name: _sample(name) for name in rows[SAMPLE].unique()}
        seen |= set(filter(None, samples.values()))
        own = rows[rows[GENE].isin(wanted)]
        unknown = [f"sample {n!r}" for n, sample in samples.items() if sample is None]
        strange = own[~own[CLASS].isin(NON_SILENT | SILENT)].sort_values(CLASS)
        named = strange[[CLASS, GENE]].drop_duplicates().to_numpy().tolist()
        unknown += [f"class {name!r} of {gene}" for name, gene in named]
        problems |= dict.fromkeys(unknown)
        mutated |= set(_mutations(own, samples))
    if problems:
        raise TcgaError(
            f"{path} has {len(problems)} unknown values: {first_few(list(problems))}. "
            "Expected samples such as TCGA-3C-AALI-01A-11D-A41B-09 and the classes "
            f"{', '.join(sorted(NON_SILENT | SILENT))}"
        )
    return [
        Claim(
            patient=sample[:12],
            label=label,
            value=MUTATED if (gene, sample) in mutated else WILD_TYPE,
            source=f"{path.name} ({sample})",
        )
        for sample in sorted(seen | set(sequenced))
        for gene in sorted(wanted)
        for label in labels_of_gene(gene, genes)
    ]


def count_mutated(path: Path) -> dict[str, set[str]]:
    """The patients with a mutation of each gene, as `read_maf` has them."""
    patients: dict[str, set[str]] = {}
    for rows in maf_chunks(path):
        samples = {name: _sample(name) for name in rows[SAMPLE].unique()}
        for gene, sample in _mutations(rows, samples):
            patients.setdefault(gene, set()).add(sample[:12])
    return patients


def _mutations(rows: pd.DataFrame, samples: dict[str, str | None]) -> Iterator:
    """Gene and sample of each non-silent variant that passed."""
    passed = rows[FILTER].map(_passed).astype(bool) & rows[CLASS].isin(NON_SILENT)
    for gene, name in rows.loc[passed, [GENE, SAMPLE]].drop_duplicates().to_numpy():
        if samples[name]:
            yield gene, samples[name]


def maf_header(path: Path) -> tuple[int, list[str]] | None:
    """Number of lines before the header, and its names; None if it is not a MAF."""
    with opened(path) as file:
        for number, line in enumerate(itertools.islice(file, COMMENTS)):
            names = line.decode("utf-8-sig", "replace").rstrip("\r\n").split("\t")
            if {GENE, SAMPLE} <= set(names):
                return number, names
    return None


def maf_chunks(path: Path) -> Iterator[pd.DataFrame]:
    """A MAF's rows, some at a time, of the columns that are needed."""
    skipped, names = maf_header(path) or (0, [])
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
