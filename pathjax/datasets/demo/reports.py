"""Short report texts from a patient's latents, in varied words.

Templates only; every text says that it is synthetic. What a pathologist cannot see on
the slide (TP53, MSI status) appears as a further test, and not in every report.
"""

import numpy as np

from pathjax.datasets.demo.latents import Patient, Stream, stream

NAMES = (
    ("adenocarcinoma with gland formation", "gland-forming adenocarcinoma"),
    ("squamous cell carcinoma", "carcinoma of squamous type"),
    ("lobular carcinoma", "carcinoma growing in single files"),
    ("clear cell carcinoma", "carcinoma of clear cells"),
)
GRADES = (
    ("well differentiated", "low grade (G1)"),
    ("moderately differentiated", "intermediate grade (G2)"),
    ("poorly differentiated", "high grade (G3)"),
)


def write_report(seed: int, patient: Patient) -> str:
    """The report of one patient; depends on (seed, patient) only."""
    rng = stream(seed, Stream.REPORT, patient.number)

    def choose(*options: str) -> str:
        return options[int(rng.integers(len(options)))]

    name, grade = (
        choose(*NAMES[patient.cancer_type]),
        choose(*GRADES[patient.grade - 1]),
    )
    percent = int(5 * np.round(20 * patient.purity))
    sentences = [
        choose(
            "Synthetic report.", "This is a synthetic report.", "Report (synthetic)."
        ),
        choose(f"Sections show a {name}, {grade}.", f"Diagnosis: {name}; {grade}."),
        choose(
            f"Tumour makes up about {percent} % of the section.",
            f"Estimated tumour content {percent} %.",
        ),
    ]
    if patient.pleomorphism > 0.55:
        nuclei = choose(
            "Nuclei vary markedly in size and shape.", "Marked pleomorphism."
        )
    elif patient.pleomorphism > 0.35:
        nuclei = choose(
            "Moderate nuclear pleomorphism.", "Nuclei are somewhat unequal."
        )
    else:
        nuclei = choose("Nuclei are uniform.", "Little nuclear pleomorphism.")
    mitoses = ("few", "several", "frequent")[
        int(np.digitize(patient.proliferation, (0.35, 0.55)))
    ]
    sentences.append(f"{nuclei} Mitoses are {mitoses}.")
    if patient.infiltration > 0.42:
        sentences.append(choose("Brisk lymphocytes.", "Dense lymphocytic infiltrate."))
    elif patient.infiltration < 0.2:
        sentences.append(choose("Few lymphocytes.", "Hardly any inflammation."))
    if patient.mucin > 0.4:
        sentences.append(choose("Pools of mucin are seen.", "Extracellular mucin."))
    if patient.composition[5] > 0.04:
        sentences.append(choose("Focal necrosis.", "Necrosis is present."))
    tests = []
    if rng.random() < 0.5:
        stain = "abnormal" if patient.tp53 else "wild-type pattern"
        tests.append(f"p53 {stain}")
    if rng.random() < 0.5:
        loss = "loss of MLH1" if patient.msi else "mismatch repair proteins retained"
        tests.append(loss)
    if rng.random() < 0.5:
        kind = "basal keratins positive" if patient.basal else "luminal keratins"
        tests.append(kind)
    if tests:
        sentences.append(f"Immunohistochemistry: {', '.join(tests)}.")
    return " ".join(sentences)
