"""Gene sets from the user's GMT file, matched to the genes of a panel.

    NAME <tab> description <tab> GENE <tab> GENE ...

As MSigDB, Enrichr and Reactome offer them; pathjax ships none. Scores nothing.
"""

import dataclasses
import re
from collections.abc import Mapping, Sequence
from pathlib import Path

from pathjax.buckets import local
from pathjax.data.study import StudyError
from pathjax.data.tables import read_text
from pathjax.files import reading

Sets = dict[str, tuple[str, ...]]


@dataclasses.dataclass(frozen=True)
class Matched:
    """Gene sets by the places of their genes.

    Attributes:
      members: Name of a set -> places of its genes that are there, ascending.
      left_out: Name -> number of its genes that are there, where these are too few.
      unused: Number of genes that are in no set that is kept.
    """

    members: dict[str, tuple[int, ...]]
    left_out: dict[str, int]
    unused: int


def read_gmt(path: Path) -> Sets:
    """Reads a GMT file; weights after a comma, as Enrichr writes them, are dropped.

    Raises:
      StudyError: It is not such a file, or names a set twice.
    """
    with reading(path, StudyError, "gene sets"):
        lines = read_text(local(path)).splitlines()
    sets: Sets = {}
    for number, line in enumerate(lines, start=1):
        if not line.strip() or line.startswith("#"):
            continue
        name, *rest = (cell.strip() for cell in line.split("\t"))
        cells = [re.sub(r",[\d.eE+-]+$", "", cell) for cell in rest[1:]]
        genes = tuple(dict.fromkeys(filter(None, cells)))
        if not name or not genes:
            raise StudyError(
                f"{path}, line {number}: expected name, description and genes, divided "
                f"by tabs, got {line[:60]!r}"
            )
        if name in sets:
            raise StudyError(f"{path}, line {number}: set {name!r} is there twice")
        sets[name] = genes
    if not sets:
        raise StudyError(f"{path} has no gene sets")
    return sets


def match(
    sets: Mapping[str, Sequence[str]], places: Mapping[str, int], least: int
) -> Matched:
    """Finds the genes of sets.

    Args:
      sets: Name -> genes.
      places: Name of a gene, in any spelling that is known -> its place.
      least: Genes that a set must have.

    Raises:
      StudyError: No set has so many.
    """
    found = {
        name: tuple(sorted({places[gene] for gene in genes if gene in places}))
        for name, genes in sets.items()
    }
    members = {name: genes for name, genes in found.items() if len(genes) >= least}
    if not members:
        raise StudyError(
            f"none of {len(sets)} gene sets has {least} of the measured genes; sets have "
            f"genes such as {next(iter(sets.values()))[0]}, the panel such as "
            f"{next(iter(places))}: use sets with these names, more genes (data.genes), "
            "or a lower min_genes"
        )
    left_out = {name: len(found[name]) for name in sets if name not in members}
    used = set().union(*members.values())
    return Matched(members, left_out, len(set(places.values()) - used))
