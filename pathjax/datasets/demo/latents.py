"""Latent variables of a synthetic patient, which shape both tiles and expression.

They depend on (seed, patient number) only, so that a patient is the same in a cohort of
any size. The numbers are invented; only the directions follow known biology: TP53
mutation goes with pleomorphism, larger nuclei and proliferation, mismatch repair
deficiency with lymphocytes and mucin.
"""

import dataclasses
import enum

import numpy as np

from pathjax.datasets.demo.stain import SITES

CANCER_TYPES = ("glandular", "squamous", "lobular", "clear-cell")
TISSUES = ("tumour", "stroma", "lymphocytes", "adipose", "normal", "necrosis")
TP53 = ("wild-type", "mutated")
SUBTYPES = ("luminal-like", "basal-like")
MSI = ("MSS-like", "MSI-like")

# Fraction of patients with each label, by cancer type: associated, not determined.
TP53_RATE = (0.45, 0.60, 0.40, 0.45)
BASAL_RATE = (0.40, 0.60, 0.40, 0.50)
MSI_RATE = (0.40, 0.25, 0.30, 0.30)
# Factor on each site's share, by cancer type.
SITE_TYPE = np.array(
    [
        [1.6, 0.7, 1.3, 0.6, 1.0, 0.8],
        [0.6, 1.6, 0.8, 1.2, 0.7, 1.2],
        [1.2, 0.7, 0.6, 1.5, 1.1, 0.9],
        [0.7, 1.0, 1.4, 0.8, 1.2, 1.1],
    ]
)


class Stream(enum.IntEnum):
    """Independent streams of random numbers under one seed."""

    TYPE = 0
    PATIENT = 1
    SLIDE = 2
    TILE = 3
    COUNTS = 4
    GENES = 5
    REPORT = 6
    MISSING = 7
    SPLIT = 8


def stream(seed: int, name: Stream, *which: int) -> np.random.Generator:
    """The generator of one stream, for example of one tile of one patient."""
    return np.random.default_rng([seed, int(name), *which])


@dataclasses.dataclass(frozen=True)
class Patient:
    """Latents of one patient. Fractions and strengths are between 0 and 1."""

    number: int  # from 0 on
    site: int  # index into SITES
    cancer_type: int  # index into CANCER_TYPES
    tp53: bool  # mutated
    basal: bool
    msi: bool
    composition: tuple[float, ...]  # expected share of tiles of each of TISSUES
    infiltration: float  # lymphocytes among and around tumour cells
    proliferation: float  # cycling tumour cells
    differentiation: float  # how well glands, keratin or nests are formed
    pleomorphism: float  # variation of the tumour nuclei
    nuclear_size: float  # factor on the diameter of tumour nuclei, about 1
    chromatin: float  # coarseness of tumour chromatin
    basophilia: float  # haematoxylin in tumour cytoplasm
    mucin: float  # in and around glands
    hypoxia: float  # drives necrosis
    grade: int  # 1 to 3, from differentiation, pleomorphism and proliferation

    @property
    def patient_id(self) -> str:
        return f"DEMO-{SITES[self.site].code}-{self.number + 1:04d}"

    @property
    def purity(self) -> float:
        return self.composition[TISSUES.index("tumour")]

    def numbers(self) -> dict[str, float]:
        """All latents as numbers by name."""
        values = {f"is_{name}": 0.0 for name in CANCER_TYPES}
        values[f"is_{CANCER_TYPES[self.cancer_type]}"] = 1.0
        values |= dict(zip(TISSUES, self.composition, strict=True))
        skip = ("number", "site", "cancer_type", "composition")
        for field in dataclasses.fields(self):
            if field.name not in skip:
                values[field.name] = float(getattr(self, field.name))
        return values


def sample_patient(seed: int, number: int) -> Patient:
    """Samples patient `number` (from 0) of the cohort with this seed.

    Each block of four patients has one of each type, so cohorts are balanced.
    """
    types = len(CANCER_TYPES)
    block = stream(seed, Stream.TYPE, number // types)
    cancer_type = int(block.permutation(types)[number % types])
    rng = stream(seed, Stream.PATIENT, number)

    weight = SITE_TYPE[cancer_type] * [site.share for site in SITES]
    site = int(rng.choice(len(SITES), p=weight / weight.sum()))
    tp53 = bool(rng.random() < TP53_RATE[cancer_type])
    basal = bool(rng.random() < BASAL_RATE[cancer_type])
    msi = bool(rng.random() < MSI_RATE[cancer_type])

    def unit(mean: float, sd: float) -> float:
        return float(np.clip(rng.normal(mean, sd), 0.02, 0.98))

    differentiation = unit(0.62 - 0.14 * tp53 - 0.08 * basal, 0.18)
    coarse = 0.5 - differentiation
    proliferation = unit(0.32 + 0.20 * tp53 + 0.10 * basal + 0.2 * coarse, 0.10)
    pleomorphism = unit(0.26 + 0.38 * tp53 + 0.15 * coarse, 0.10)
    nuclear_size = float(1 + 0.09 * tp53 + rng.normal(0, 0.04))
    chromatin = unit(0.32 + 0.34 * basal, 0.10)
    basophilia = unit(0.36 + 0.22 * basal, 0.12)
    mucin = unit(0.12 + 0.30 * msi + 0.10 * (cancer_type == 0), 0.08)
    infiltration = unit(0.24 + 0.24 * msi, 0.11)
    hypoxia = unit(0.30 + 0.25 * proliferation + 0.1 * (cancer_type == 3), 0.12)

    purity = 0.36 + 0.46 * rng.beta(3.0, 3.0)
    other = np.array(
        [
            rng.gamma(5.0, 0.55 if cancer_type == 2 else 0.42),  # stroma
            rng.gamma(5.0, 0.12 + 0.45 * infiltration),
            rng.gamma(3.0, 0.42 if cancer_type in (0, 2) else 0.30),  # adipose
            rng.gamma(3.0, 0.33),  # normal
            rng.gamma(3.0, 0.30 * hypoxia),  # necrosis
        ]
    )
    other *= (1 - purity) / other.sum()
    score = -differentiation + pleomorphism + proliferation
    grade = 1 + int(score > 0.10) + int(score > 0.60)
    composition = (float(purity), *(float(part) for part in other))
    kind = (number, site, cancer_type, tp53, basal, msi, composition)
    form = (infiltration, proliferation, differentiation, pleomorphism, nuclear_size)
    return Patient(*kind, *form, chromatin, basophilia, mucin, hypoxia, grade)
