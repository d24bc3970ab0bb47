"""How often genes are mutated, by cancer type.

    labels of patients (labels.py) -> mutation_rates -> a row for each gene and type

Reads no file and predicts nothing.
"""

import pandas as pd

from pathjax.datasets.tcga.vocabulary import MUTATED, MUTATION

EVERY, UNKNOWN = "all", "unknown"


def mutation_rates(table: pd.DataFrame) -> pd.DataFrame:
    """Mutated patients of each gene and cancer type, and of all types together.

    Args:
      table: Of `read_labels`, with genes as labels.

    Returns:
      `gene`, `cancer_type` ("all"; "unknown" of patients without one), `patients` whose
      status is known, `mutated` of them, and `rate`. The gene with the most mutated
      patients comes first, and of a gene "all".
    """
    genes = [
        name
        for name in table.columns
        if name.startswith(MUTATION) and not name.endswith("_source")
    ]
    kinds = pd.Series(UNKNOWN, table.index)
    if "cancer_type" in table:
        kinds = table["cancer_type"].astype(object).fillna(UNKNOWN)
    rows = []
    for gene in genes:
        known = table[gene].notna()
        mutated = table.loc[known, gene] == MUTATED
        each = mutated.groupby(kinds[known]).agg(["size", "sum"])
        every = (gene.removeprefix(MUTATION), EVERY, len(mutated), int(mutated.sum()))
        rows += [
            every,
            *((every[0], kind, *map(int, own)) for kind, *own in each.itertuples()),
        ]
    rates = pd.DataFrame(rows, columns=["gene", "cancer_type", "patients", "mutated"])
    rates["rate"] = rates["mutated"] / rates["patients"]
    most = rates.groupby("gene")["mutated"].transform("max")
    # Stable, so that rows of a gene keep their order.
    order = pd.DataFrame({"most": -most, "gene": rates["gene"]}).sort_values(
        ["most", "gene"], kind="stable"
    )
    return rates.loc[order.index].reset_index(drop=True)
