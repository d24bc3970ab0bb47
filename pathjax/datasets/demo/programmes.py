"""Bulk expression of a synthetic patient: gene programmes and negative-binomial counts.

A programme is a set of genes that respond together to a patient's latents. The log of a
gene's mean is its base level plus its programmes' scores times its loadings, nearly
linear in the latents; counts are negative binomial around that mean (the usual model of
RNA-seq: Robinson & Smyth 2008, doi:10.1093/biostatistics/kxm030). Marker genes have
real HGNC symbols so that a reader knows what is meant; the values are invented. Tiles
are not used here.
"""

import dataclasses

import numpy as np
from jaxtyping import Float, Int

from pathjax.datasets.demo.latents import Patient, Stream, stream

# Genes by programme; a gene with "-" falls when the programme rises.
MARKERS: dict[str, str] = {
    "glandular": "CDX2 KRT20 VIL1 CDH17 LGALS4 GPA33 PHGR1 TSPAN8",
    "squamous": "TP63 KRT6A DSG3 SPRR1B SPRR3 KRT13 IVL PKP1",
    "lobular": "ESRRG TFAP2B PLCD4 SYT13 GATA2 -CDH1 AKT3 CLEC3A",
    "clear_cell": "NDUFA4L2 CA9 ANGPTL4 SLC17A3 NAT8 PLIN2 CUBN ESM1",
    "proliferation": "MKI67 TOP2A CCNB1 AURKA BUB1 CDK1 PCNA MCM2 BIRC5 TYMS FOXM1",
    "immune": "CD3E CD8A PTPRC CD2 CD19 MS4A1 GZMK CCL5 CXCL9 LCK TRBC2 IL7R",
    "stroma": "COL1A1 COL1A2 COL3A1 FAP PDGFRB DCN LUM POSTN FN1 SPARC THY1",
    "adipose": "ADIPOQ FABP4 LEP PLIN1 LPL CIDEC PPARG",
    "tumour": "EPCAM KRT8 KRT18 KRT19 CDH3 CLDN4 MUC1 TACSTD2",
    "normal": "SFTPC PIGR CLDN5 SLC34A2 AQP3 FXYD3",
    "tp53_loss": "-CDKN1A -MDM2 -BAX -FAS -GDF15 -SESN1 -TP53I3 -ZMAT3 "
    "-RRM2B -FDXR CCNE1 PLK1",
    "basal": "KRT5 KRT14 KRT17 EGFR FOXC1 LAMC2 -ESR1 -GATA3 -FOXA1 -XBP1 -PGR -TFF1",
    "msi": "-MLH1 -MSH2 -EPM2AIP1 RPL22L1 TNNT1 HOXC6 AGR2 -DUSP4 -TNFSF9 REG4",
    "mucin": "MUC2 TFF3 SPDEF FCGBP CLCA1",
    "hypoxia": "VEGFA SLC2A1 LDHA PGK1 ADM BNIP3 NDRG1",
    "differentiation": "CEACAM5 KLF4 CDHR5 GRHL3 ELF3 OVOL1",
    "housekeeping": "ACTB GAPDH B2M RPLP0 TBP HPRT1 PPIA UBC YWHAZ SDHA GUSB RPL13A",
}
PROGRAMMES = tuple(name for name in MARKERS if name != "housekeeping")
FEWEST_GENES = 2 * len(MARKERS)
LIBRARY = 2.0e6  # median counts of a sample over 400 genes; less for fewer
LIBRARY_SD = 0.35  # of its logarithm
ACTIVITY_SD = 0.30  # of a programme's own variation, unrelated to any latent


@dataclasses.dataclass(frozen=True)
class Genes:
    """The gene model of a cohort."""

    symbols: tuple[str, ...]  # unique
    programme: tuple[str, ...]  # the first one, "housekeeping" or "noise"
    base: Float[np.ndarray, "G"]  # mean log expression
    loadings: Float[np.ndarray, "G P"]  # response to each of PROGRAMMES
    dispersion: Float[np.ndarray, "G"]  # variance = mean + dispersion * mean²


def sample_genes(seed: int, count: int) -> Genes:
    """Samples `count` genes: markers, round-robin over programmes, then SYN0001, ..."""
    rng = stream(seed, Stream.GENES)
    listed = {name: text.split() for name, text in MARKERS.items()}
    turns = max(len(names) for names in listed.values())
    markers = [
        (names[turn].lstrip("-"), name, -1.0 if names[turn][0] == "-" else 1.0)
        for turn in range(turns)
        for name, names in listed.items()
        if turn < len(names)
    ][:count]
    loadings = np.zeros((count, len(PROGRAMMES)))
    # Each gene samples its own row, so that a longer panel starts with a shorter one.
    base, dispersion = np.empty(count), np.empty(count)
    symbols, programme = [], []
    for g in range(count):
        base[g] = rng.normal(0, 1.1)
        dispersion[g] = 0.06 * np.exp(0.6 * rng.standard_normal())
        strength, weak = rng.uniform(0.45, 1.0), rng.normal(0, 0.25, 3)
        where, follows = rng.integers(len(PROGRAMMES), size=3), rng.random() < 0.5
        if g < len(markers):
            symbol, name, sign = markers[g]
            if name == "housekeeping":
                base[g] += 1.5
            else:
                loadings[g, PROGRAMMES.index(name)] = sign * strength
        else:
            symbol, name = f"SYN{g - len(markers) + 1:04d}", "noise"
            if follows:
                np.add.at(loadings[g], where, weak)
        symbols.append(symbol)
        programme.append(name)
    return Genes(tuple(symbols), tuple(programme), base, loadings, dispersion)


def scores(patient: Patient) -> Float[np.ndarray, "P"]:
    """Score of each of PROGRAMMES in a patient, about -2 to 2, without noise."""
    value = patient.numbers()

    def part(tissue: str, middle: float) -> float:
        """A tissue's share as log2 fold change relative to `middle`."""
        return float(np.clip(np.log2((value[tissue] + 0.01) / middle), -2, 2))

    cells = 0.5 * part("lymphocytes", 0.08) + 4.0 * (patient.infiltration - 0.3)
    answers = {
        "glandular": 2.0 * value["is_glandular"] * (0.5 + patient.purity),
        "squamous": 2.0 * value["is_squamous"] * (0.5 + patient.purity),
        "lobular": 2.0 * value["is_lobular"] * (0.5 + patient.purity),
        "clear_cell": 2.0 * value["is_clear-cell"] * (0.5 + patient.purity),
        "proliferation": 5.0 * (patient.proliferation - 0.45),
        "immune": cells,
        "stroma": part("stroma", 0.16),
        "adipose": part("adipose", 0.08),
        "tumour": 5.0 * (patient.purity - 0.6),
        "normal": part("normal", 0.08),
        # Also responds to visible pleomorphism, which is rare without the mutation.
        "tp53_loss": 1.6 * (patient.tp53 - 0.5) + 1.2 * (patient.pleomorphism - 0.45),
        "basal": 1.6 * (patient.basal - 0.5) + 1.2 * (patient.chromatin - 0.5),
        "msi": 1.8 * (patient.msi - 0.35),
        "mucin": 5.0 * (patient.mucin - 0.22),
        "hypoxia": 5.0 * (patient.hypoxia - 0.43),
        "differentiation": 4.0 * (patient.differentiation - 0.5),
    }
    return np.array([answers[name] for name in PROGRAMMES])


def negative_binomial(
    rng: np.random.Generator,
    mean: Float[np.ndarray, "..."],
    dispersion: Float[np.ndarray, "..."],
) -> Int[np.ndarray, "..."]:
    """Counts of variance mean + dispersion * mean², as a gamma-Poisson mixture."""
    rate = rng.gamma(1 / dispersion, dispersion * mean)
    return rng.poisson(rate)


def sample_counts(seed: int, patient: Patient, genes: Genes) -> Int[np.ndarray, "G"]:
    """Raw counts of one patient, int32; depends on (seed, patient, genes) only."""
    rng = stream(seed, Stream.COUNTS, patient.number)
    activity = scores(patient) + ACTIVITY_SD * rng.standard_normal(len(PROGRAMMES))
    logs = genes.base + genes.loadings @ activity
    library = LIBRARY * len(genes.base) / 400
    library *= np.exp(LIBRARY_SD * rng.standard_normal())
    share = np.exp(logs)
    mean = library * share / share.sum()
    return negative_binomial(rng, mean, genes.dispersion).astype(np.int32)
