"""TP53 from a MAF: mutated, wild type, or not known because nobody sequenced it.

    .maf or .maf.gz (MC3, or the GDC's masked somatic mutations) -> claims

A tumour sample is mutated when it has a non-silent TP53 variant that passed its
caller's filters. It is wild type when it has none and was sequenced: it has a row of
any gene in the MAF, or stands in a list of sequenced samples. Being absent from a MAF
is no evidence.
"""

import csv
from collections.abc import Iterable, Iterator
from pathlib import Path

import pandas as pd

from pathjax.data.tcga_barcodes import find
from pathjax.datasets.tcga.label_tables import Claim, header_of, text_file
from pathjax.datasets.tcga.tables import TcgaError
from pathjax.datasets.tcga.vocabulary import MUTATED, WILD_TYPE

GENE, CLASS, SAMPLE, FILTER = (
    "Hugo_Symbol",
    "Variant_Classification",
    "Tumor_Sample_Barcode",
    "FILTER",
)
# Variant classes of the GDC's MAF format, by whether they change the protein.
NON_SILENT = frozenset(
    [
        "Missense_Mutation",
        "Nonsense_Mutation",
        "Nonstop_Mutation",
        "Frame_Shift_Del",
        "Frame_Shift_Ins",
        "In_Frame_Del",
        "In_Frame_Ins",
        "Splice_Site",
        "Translation_Start_Site",
    ]
)
SILENT = frozenset(
    [
        "Silent",
        "Intron",
        "5'UTR",
        "3'UTR",
        "5'Flank",
        "3'Flank",
        "IGR",
        "RNA",
        "Splice_Region",
        "Targeted_Region",
    ]
)
# Flags that do not make a call doubtful. DNA of OV and LAML was amplified (wga), so
# that asking for PASS alone would empty them (Ellrott et al. 2018, MC3).
# "nonpreferredpair" is no such flag: the same tumour is there with a better normal.
ACCEPTED = frozenset(("PASS", ".", "", "wga", "native_wga_mix"))
ROWS_AT_ONCE = 200_000  # of the 3.6 million of MC3


def is_maf(header: Iterable[str]) -> bool:
    """True when a table's columns are a MAF's."""
    return {GENE, SAMPLE} <= set(header)


def read_sequenced(path: str | Path) -> set[str]:
    """Sequenced samples, 15 characters each, from a file with one barcode a line.

    Raises:
      TcgaError: the file cannot be read, or lines are no tumour sample's barcode.
    """
    try:
        lines = Path(path).read_text(encoding="utf-8").split("\n")
    except (OSError, UnicodeDecodeError) as error:
        raise TcgaError(f"{path} cannot be read: {error}") from error
    found, problems = set(), []
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        sample = _sample(line.strip())
        if sample is None:
            problems.append(f"line {number}: {line.strip()[:40]!r}")
        elif sample:
            found.add(sample)
    if problems or not found:
        what = f"; no sample: {', '.join(problems[:5])}" if problems else ""
        raise TcgaError(
            f"{path}: expected one barcode a line of at least 15 characters, such as "
            f"TCGA-3C-AALI-01, and found {len(found)}{what}"
        )
    return found


def read_maf(path: Path, sequenced: Iterable[str] = ()) -> Iterator[Claim]:
    """One claim on TP53 for each tumour sample that is known to be sequenced.

    Args:
      path: the MAF, plain or .gz.
      sequenced: samples (15 characters) that were sequenced, in the MAF or not.

    Raises:
      TcgaError: the file cannot be read, lacks a column, or has TP53 rows of a class
        that is not known or samples that are no barcode: all at once.
    """
    path = Path(path)
    seen: set[str] = set()
    mutated: set[str] = set()
    problems: dict[str, None] = {}
    for rows in _chunks(path):
        names = {name: _sample(name) for name in rows[SAMPLE].unique()}
        problems |= {
            f"{name!r} is no barcode of a sample": None
            for name, sample in names.items()
            if sample is None
        }
        seen |= {sample for sample in names.values() if sample}
        hits = rows[rows[GENE] == "TP53"]
        strange = set(hits[CLASS]) - NON_SILENT - SILENT
        problems |= {f"TP53 has the class {one!r}": None for one in sorted(strange)}
        passed = hits[FILTER].map(_passed).astype(bool) & hits[CLASS].isin(NON_SILENT)
        mutated |= {names[name] for name in hits[SAMPLE][passed] if names[name]}
    if problems:
        listed = "; ".join(list(problems)[:5])
        raise TcgaError(
            f"{path} has {len(problems)} things that are not known: {listed}. Wanted "
            f"samples such as TCGA-3C-AALI-01A-11D-A41B-09 and the classes "
            f"{', '.join(sorted(NON_SILENT | SILENT))}"
        )
    for sample in sorted(seen | set(sequenced)):
        value = MUTATED if sample in mutated else WILD_TYPE
        yield Claim(sample[:12], "tp53", value, f"{path.name} ({sample})")


def _chunks(path: Path) -> Iterator[pd.DataFrame]:
    header = header_of(path)
    lacking = [one for one in (GENE, CLASS, SAMPLE) if one not in header.names]
    if lacking:
        raise TcgaError(f"{path} lacks the columns {', '.join(lacking)} of a MAF")
    with text_file(path) as file:
        try:
            pieces = pd.read_csv(
                file,
                sep="\t",
                skiprows=header.lines,
                usecols=lambda name: name in (GENE, CLASS, SAMPLE, FILTER),
                dtype=str,
                keep_default_na=False,
                quoting=csv.QUOTE_NONE,  # 3'UTR, and quotes in annotations
                chunksize=ROWS_AT_ONCE,
            )
            for rows in pieces:
                # A MAF without FILTER (cBioPortal's) has been filtered already.
                yield rows if FILTER in rows else rows.assign(**{FILTER: "PASS"})
        except pd.errors.ParserError as error:
            raise TcgaError(f"{path} cannot be read as a MAF: {error}") from error


def _passed(flags: str) -> bool:
    return all(flag.strip() in ACCEPTED for flag in flags.replace(";", ",").split(","))


def _sample(name: str) -> str | None:
    """15 characters; "" for normal tissue; None where it is no sample's barcode."""
    try:
        barcode = find(name)
    except ValueError:
        return None
    if barcode.is_normal:
        return ""
    return barcode.sample or None
