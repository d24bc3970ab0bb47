"""Cohorts of made numbers in which it is known what tells what."""

import numpy as np
import pandas as pd

from pathjax.data.study import Target
from pathjax.modalities.cohort import Cohort, Modality


def made_cohort(patients=60, *, per_patient=1, seed=0, lacking=0):
    """RNA tells `kind`, text tells `other`, the slide tells nothing; `size` is in RNA.

    Args:
      patients: how many; classes take turns.
      per_patient: samples of each.
      seed: of the numbers.
      lacking: the first so many samples have no text.
    """
    random = np.random.default_rng(seed)
    n = patients * per_patient
    patient = np.repeat(np.arange(patients), per_patient)
    # Classes are the patient's own, and the two targets are independent.
    kind, other = patient % 2, (patient // 2) % 2
    size = random.normal(size=n)
    rna = random.normal(size=(n, 12))
    rna[:, 0] += 4 * kind
    rna[:, 1] += 3 * size
    text = random.normal(size=(n, 6))
    text[:, 2] += 4 * other
    samples = pd.DataFrame(
        {
            "sample_id": [f"S{i:03d}" for i in range(n)],
            "patient_id": [f"P{i:03d}" for i in patient],
            "kind": np.array(["a", "b"], object)[kind],
            "other": np.array(["u", "v"], object)[other],
            "size": size,
        }
    )
    rows = np.arange(n)
    blocks = {
        "slide": (rows, random.normal(size=(n, 8))),
        "rna": (rows, rna),
        "text": (rows[lacking:], text[lacking:]),
    }
    return Cohort(
        name="made",
        samples=samples,
        targets={
            "kind": Target("kind", "sample", "class", ("a", "b")),
            "other": Target("other", "sample", "class", ("u", "v")),
            "size": Target("size", "sample", "number"),
        },
        modalities={
            name: Modality(name, at, x.astype(np.float32))
            for name, (at, x) in blocks.items()
        },
        synthetic=True,
    )
