"""Small files of RNA in the formats of GDC, Xena and PORPOISE, with known content."""

import gzip
from pathlib import Path

import numpy as np

COLUMNS = [
    "gene_id",
    "gene_name",
    "gene_type",
    "unstranded",
    "stranded_first",
    "stranded_second",
    "tpm_unstranded",
    "fpkm_unstranded",
    "fpkm_uq_unstranded",
]
STAR = ".rna_seq.augmented_star_gene_counts.tsv"
# id, symbol, type: a PAR gene with its copy, a symbol of two genes, a non-coding gene.
GENES = [
    ("ENSG00000141510.18", "TP53", "protein_coding"),
    ("ENSG00000182378.15", "PLCXD1", "protein_coding"),
    ("ENSG00000002586.20", "TWIN", "protein_coding"),
    ("ENSG00000002587.3", "TWIN", "protein_coding"),
    ("ENSG00000228630.5", "HOTAIR", "lncRNA"),
    ("ENSG00000111640.15", "GAPDH", "protein_coding"),
    ("ENSG00000182378.15_PAR_Y", "PLCXD1", "protein_coding"),
]
SAMPLES = ["TCGA-05-4244-01A", "TCGA-05-4249-01A", "TCGA-05-4249-11A"]


def star_values(seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Counts and TPM (four decimals, as GDC prints them) of one file."""
    rng = np.random.default_rng(seed)
    counts = rng.integers(0, 5000, len(GENES))
    share = rng.gamma(1.0, size=len(GENES))
    return counts, np.round(share / share.sum() * 1e6, 4)


def star_text(seed: int) -> str:
    counts, tpm = star_values(seed)
    lines = ["# gene-model: GENCODE v36", "\t".join(COLUMNS)]
    lines += [
        f"N_{name}\t\t\t{n}\t{n}\t{n}\t\t\t"
        for n, name in enumerate(("unmapped", "multimapping", "noFeature", "ambiguous"))
    ]
    lines += [
        f"{gene}\t{symbol}\t{kind}\t{n}\t0\t{n}\t{t:.4f}\t1.0\t1.0"
        for (gene, symbol, kind), n, t in zip(GENES, counts, tpm, strict=True)
    ]
    return "\n".join(lines) + "\n"


def star_folder(
    root: Path, samples=SAMPLES, *, nested: bool = True, packed: bool = False
) -> Path:
    """A download of GDC: file number i is of `samples[i]`; with its sample sheet."""
    root.mkdir(parents=True, exist_ok=True)
    for i, _ in enumerate(samples):
        folder = root / f"id-{i}" if nested else root
        folder.mkdir(exist_ok=True)
        text = star_text(i).encode()
        name = f"uuid-{i}{STAR}"
        if packed:
            (folder / f"{name}.gz").write_bytes(gzip.compress(text))
        else:
            (folder / name).write_bytes(text)
    (root / "gdc_sample_sheet.2022-04-01.tsv").write_text(sheet_text(samples))
    return root


def sheet_text(samples=SAMPLES) -> str:
    header = (
        "File ID\tFile Name\tData Category\tData Type\tProject ID\tCase ID\tSample ID"
        "\tSample Type\n"
    )
    return header + "".join(
        f"id-{i}\tuuid-{i}{STAR}\tTranscriptome Profiling\tGene Expression "
        f"Quantification\tTCGA-LUAD\t{sample[:12]}\t{sample}\t"
        f"{'Solid Tissue Normal' if sample[13] == '1' else 'Primary Tumor'}\n"
        for i, sample in enumerate(samples)
    )


def tpm(samples: int, genes: int, seed: int = 0) -> np.ndarray:
    """`[samples, genes]`, a third of them 0; each sample sums to a million."""
    rng = np.random.default_rng(seed)
    values = rng.lognormal(0.0, 2.0, (samples, genes)) * (
        rng.random((samples, genes)) > 0.3
    )
    return values / values.sum(axis=1, keepdims=True) * 1e6


def barcodes(n: int) -> list[str]:
    return [f"TCGA-05-{4000 + i}-01" for i in range(n)]


def matrix_text(values: np.ndarray, ids, columns, form: str = "%.4f") -> str:
    """`values` `[samples, genes]` as genes by samples, tab-separated."""
    lines = ["\t".join(["sample", *columns])]
    lines += [
        "\t".join([one, *(form % value for value in row)])
        for one, row in zip(ids, values.T, strict=True)
    ]
    return "\n".join(lines) + "\n"


def porpoise_text(values: np.ndarray, genes, cases) -> str:
    """`values` `[rows, genes]`; a case that is named again is another slide of it."""
    lines = [",case_id,slide_id,site," + ",".join(f"{gene}_rnaseq" for gene in genes)]
    lines += [
        f"{i},{case},{case}-01Z-00-DX{i % 9 + 1}.UUID.svs,5,"
        + ",".join(f"{value:.4f}" for value in row)
        for i, (case, row) in enumerate(zip(cases, values, strict=True))
    ]
    return "\n".join(lines) + "\n"
