"""Reads MAFs: which sequenced tumour has a non-silent mutation of which gene.

    MAF, genes -> read_maf -> claims: a table of CLAIM, a row each

A sample is wild type for a gene if it has no such mutation and is known to be sequenced.
"""

import csv
import itertools
from collections.abc import Collection, Iterable, Iterator
from pathlib import Path

import numpy as np
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
# What one source (a file's name, with the sample for MAFs) says of a patient.
CLAIM = ("patient", "label", "value", "source")


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
    path: Path,
    sequenced: Iterable[str] = (),
    genes: Collection[str] = (),
    name: str = "",
) -> pd.DataFrame:
    """A claim on TP53 and on each of the genes for each sequenced tumour sample.

    Mutated: it has a non-silent variant that passed its caller's filters. Wild type: it
    has none, and has a row of any gene in the MAF or is in `sequenced`.

    Args:
      path: MC3 or the GDC's masked somatic mutations, plain or .gz.
      sequenced: Sequenced samples (15 characters), in the MAF or not.
      genes: Symbols as the MAF has them.
      name: Of the file in the claims; "" for its own.

    Raises:
      TcgaError: The file cannot be read, lacks a column, or has unknown variant classes
        or samples.
    """
    wanted, source = sorted({"TP53", *genes}), name or path.name
    seen: set[str] = set(sequenced)
    mutated = [pd.DataFrame(columns=[GENE, SAMPLE], dtype=object)]
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
        mutated.append(_mutations(own, samples))
    if problems:
        raise TcgaError(
            f"{path} has {len(problems)} unknown values: {first_few(list(problems))}. "
            "Expected samples such as TCGA-3C-AALI-01A-11D-A41B-09 and the classes "
            f"{', '.join(sorted(NON_SILENT | SILENT))}"
        )
    found = pd.concat(mutated)
    names = sorted(seen)
    status = np.full((len(names), len(wanted)), WILD_TYPE, object)
    places = pd.Index(names).get_indexer(found[SAMPLE])
    status[places, pd.Index(wanted).get_indexer(found[GENE])] = MUTATED
    labels = [labels_of_gene(gene, genes) for gene in wanted]
    flat = [label for own in labels for label in own]
    columns = np.repeat(np.arange(len(wanted)), list(map(len, labels)))
    parts = (
        np.repeat(np.array([name[:12] for name in names], object), len(flat)),
        np.tile(np.array(flat, object), len(names)),
        status[:, columns].reshape(-1),
        np.repeat(np.array([f"{source} ({n})" for n in names], object), len(flat)),
    )
    return pd.DataFrame(dict(zip(CLAIM, parts, strict=True)), dtype=object)


def count_mutated(path: Path) -> pd.DataFrame:
    """`gene` and `patient` of each mutation, once, as `read_maf` has them."""
    found = [pd.DataFrame(columns=["gene", "patient"], dtype=object)]
    for rows in maf_chunks(path):
        samples = {name: _sample(name) for name in rows[SAMPLE].unique()}
        own = _mutations(rows, samples)
        patients = [sample[:12] for sample in own[SAMPLE]]
        found.append(pd.DataFrame({"gene": own[GENE], "patient": patients}))
    return pd.concat(found, ignore_index=True).drop_duplicates()


def _mutations(rows: pd.DataFrame, samples: dict[str, str | None]) -> pd.DataFrame:
    """Gene and sample of each non-silent variant that passed, once."""
    flags = [one for one in rows[FILTER].unique() if _passed(one)]
    tumours = [name for name, sample in samples.items() if sample]
    kept = rows[FILTER].isin(flags) & rows[CLASS].isin(NON_SILENT)
    kept &= rows[SAMPLE].isin(tumours)
    own = rows.loc[kept, [GENE, SAMPLE]].drop_duplicates()
    return own.assign(**{SAMPLE: [samples[name] for name in own[SAMPLE]]})


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


def _passed(flags: str) -> bool:
    return all(flag.strip() in ACCEPTED for flag in flags.replace(";", ",").split(","))


def _sample(name: str) -> str | None:
    """15 characters; "" for normal tissue; None if it is not the barcode of a sample."""
    try:
        barcode = find(name)
    except ValueError:
        return None
    return "" if barcode.is_normal else barcode.sample or None
