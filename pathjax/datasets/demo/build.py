"""Builds the synthetic study: renders tiles, samples expression, labels and reports.

A shard holds a group of patients and is written completely or not at all, so that an
interrupted build resumes. A patient depends on (seed, patient number) only: neither the
number of workers nor the size of the cohort changes it. (Across machines the last bit of
an exponential may differ, and with it a byte.)
"""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from pathjax.data.images import encode_jpeg
from pathjax.data.study import Study, Target
from pathjax.data.study_writer import StudyWriter
from pathjax.datasets.dataset import Progress
from pathjax.datasets.demo.cohort import FEWEST_PATIENTS, cohort_split, site_split
from pathjax.datasets.demo.latents import (
    CANCER_TYPES,
    MSI,
    SUBTYPES,
    TISSUES,
    TP53,
    Patient,
    Stream,
    sample_patient,
    stream,
)
from pathjax.datasets.demo.programmes import FEWEST_GENES, sample_counts, sample_genes
from pathjax.datasets.demo.reports import write_report
from pathjax.datasets.demo.stain import SITES
from pathjax.datasets.demo.tissue import render_tile
from pathjax.parallel.preemption import process_pool, quiet_start

GENERATOR = 1  # raise when the same parameters give other tiles
GROUP = 16  # patients per shard
REPORT_MISSING = 0.10
LABEL_MISSING = 0.03

TARGETS = [
    Target("tile_class", "tile", "class", TISSUES, "tissue of the tile (synthetic)"),
    Target("cancer_type", "sample", "class", CANCER_TYPES, "architecture (synthetic)"),
    Target("tp53", "sample", "class", TP53, "TP53 status (synthetic)"),
    Target("subtype", "sample", "class", SUBTYPES, "expression subtype (synthetic)"),
    Target("msi", "sample", "class", MSI, "microsatellite status (synthetic)"),
    Target("purity", "sample", "number", (), "expected part of tumour (synthetic)"),
    Target("grade", "sample", "number", (), "1 to 3 (synthetic)"),
]

Tile = dict[str, Any]


def render_group(
    numbers: range, tiles: int, tile_px: int, mpp: float, seed: int
) -> list[Tile]:
    """The tiles of some patients as arguments of `ShardWriter.add`; a worker's job."""
    side = int(np.ceil(np.sqrt(tiles)))
    rows = []
    for patient in (sample_patient(seed, number) for number in numbers):
        name, site = patient.patient_id, SITES[patient.site]
        for tile in range(tiles):
            rgb, tissue = render_tile(
                patient, tile, tile_px=tile_px, mpp=mpp, seed=seed
            )
            rows.append(
                {
                    "data": encode_jpeg(rgb, site.quality),
                    "tile_id": f"{name}-T{tile + 1:03d}",
                    "sample_id": name,
                    "patient_id": name,
                    "site": site.code,
                    "slide_id": f"{name}-S1",
                    "x": (tile % side) * tile_px,
                    "y": (tile // side) * tile_px,
                    "tile_class": tissue,
                }
            )
    return rows


def render_groups(
    groups: list[range], workers: int, *options: Any
) -> Iterator[tuple[range, list[Tile]]]:
    """Rendered groups in order; one worker is this process."""
    if workers <= 1:
        for group in groups:
            yield group, render_group(group, *options)
        return
    with process_pool(workers) as pool:
        with quiet_start():
            pending = [
                (group, pool.submit(render_group, group, *options)) for group in groups
            ]
        for group, future in pending:
            yield group, future.result()


def sample_expression(seed: int, patients: list[Patient], count: int):
    """AnnData of the cohort: raw counts, their log-normalised X, and the latents.

    `obsm["latents"]` is the ground truth, for tests and upper bounds; no target reads it.
    """
    import anndata

    genes = sample_genes(seed, count)
    counts = np.stack([sample_counts(seed, patient, genes) for patient in patients])
    total = np.maximum(counts.sum(axis=1, keepdims=True), 1)
    names = [patient.patient_id for patient in patients]
    expression = anndata.AnnData(
        X=np.log1p(counts / total * 1e4).astype(np.float32),
        obs=pd.DataFrame({"patient_id": names}, index=names),
        var=pd.DataFrame(
            {"programme": genes.programme, "dispersion": genes.dispersion},
            index=list(genes.symbols),
        ),
        layers={"counts": counts},
        obsm={"latents": pd.DataFrame([p.numbers() for p in patients], index=names)},
    )
    expression.uns["pathjax"] = {
        "x": "log1p(counts per 10,000)",
        "synthetic": True,
        "note": "invented values under real symbols; SYN symbols are no genes",
    }
    return expression


def sample_table(seed: int, patients: list[Patient]) -> pd.DataFrame:
    """A row per patient with its labels; about 3 % of each label are missing."""
    rows = []
    for patient in patients:
        rng = stream(seed, Stream.MISSING, patient.number)
        tp53, subtype, msi = rng.random(3) >= LABEL_MISSING
        rows.append(
            {
                "sample_id": patient.patient_id,
                "patient_id": patient.patient_id,
                "site": SITES[patient.site].code,
                "cancer_type": CANCER_TYPES[patient.cancer_type],
                "tp53": TP53[patient.tp53] if tp53 else None,
                "subtype": SUBTYPES[patient.basal] if subtype else None,
                "msi": MSI[patient.msi] if msi else None,
                "purity": patient.purity,
                "grade": float(patient.grade),
            }
        )
    return pd.DataFrame(rows)


def report_table(seed: int, patients: list[Patient]) -> pd.DataFrame:
    """Reports of nine patients in ten."""
    rows = [
        {"sample_id": patient.patient_id, "text": write_report(seed, patient)}
        for patient in patients
        if stream(seed, Stream.MISSING, patient.number, 1).random() >= REPORT_MISSING
    ]
    return pd.DataFrame(rows, columns=["sample_id", "text"])


def build_demo(
    out: Path,
    *,
    patients: int = 240,
    tiles_per_patient: int = 8,
    tile_px: int = 64,
    mpp: float = 1.0,
    genes: int = 400,
    seed: int = 0,
    progress: Progress = lambda done, total: None,
    workers: int | None = None,
) -> Study:
    """Builds the synthetic study, or completes the one in `out`.

    Args:
      out: The study's directory.
      patients, tiles_per_patient: Size of the cohort, at least 20 patients.
      tile_px, mpp: Side of a tile in pixels and micrometres per pixel.
      genes: At least two per programme.
      seed: Random seed.
      progress: Called with (tiles done, tiles in all).
      workers: Processes that render; None uses all available CPUs. They are spawned,
        so with more than one a script needs `if __name__ == "__main__"`.

    Raises:
      ValueError: parameters are out of range; lists all of them.
      StudyError: `out` was begun with other parameters.
    """
    checks = [
        (patients >= FEWEST_PATIENTS, f"at least 20 patients, got patients {patients}"),
        (tiles_per_patient >= 1, f"tiles, got tiles_per_patient {tiles_per_patient}"),
        (tile_px >= 16, f"at least 16 pixels, got tile_px {tile_px}"),
        (0.1 <= mpp <= 4, f"0.1 to 4 µm per pixel, got mpp {mpp}"),
        (tile_px * mpp >= 16, f"tiles of 16 µm or more, got {tile_px * mpp}"),
        (genes >= FEWEST_GENES, f"at least {FEWEST_GENES} genes, got genes {genes}"),
        (seed >= 0, f"a seed of 0 or more, got seed {seed}"),
        (workers is None or workers >= 1, f"at least 1 worker, got workers {workers}"),
    ]
    wrong = [text for passed, text in checks if not passed]
    if wrong:
        raise ValueError(f"cannot build the demo: expected {'; '.join(wrong)}")
    cohort = [sample_patient(seed, number) for number in range(patients)]
    writer = StudyWriter(
        out,
        name="demo",
        tile_px=tile_px,
        mpp=mpp,
        gene_id_type="symbol",
        synthetic=True,
        provenance={
            "source": "pathjax.datasets.demo",
            "note": "SYNTHETIC: tiles, expression, labels and reports are drawn by a "
            "program from invented latents; they show nothing about patients",
            "licence": "the generator's, Apache-2.0",
        },
        build={
            "generator": GENERATOR,
            "patients": patients,
            "tiles_per_patient": tiles_per_patient,
            "tile_px": tile_px,
            "mpp": mpp,
            "genes": genes,
            "seed": seed,
        },
    )
    # Shards are in the order of patients, also when some exist already.
    groups = [
        range(first, min(first + GROUP, patients))
        for first in range(0, patients, GROUP)
    ]
    names = {group: f"demo-{number:04d}" for number, group in enumerate(groups)}
    ready = 0
    while ready < len(groups) and writer.has_shard(names[groups[ready]]):
        ready += 1
    missing = groups[ready:]
    total = patients * tiles_per_patient
    done = min(ready * GROUP * tiles_per_patient, total)
    progress(done, total)
    if workers is None:
        available = getattr(os, "sched_getaffinity", lambda _: (0,))
        workers = len(available(0))
    options = (tiles_per_patient, tile_px, mpp, seed)
    for group, tiles in render_groups(missing, min(workers, len(missing)), *options):
        with writer.shard(names[group]) as shard:
            for tile in tiles:
                shard.add(**tile)
        done += len(tiles)
        progress(done, total)

    splits = [cohort_split(seed, cohort)]
    by_site = site_split(cohort)
    if by_site is None:
        writer.skip("split sites", "fewer sites with patients than folds")
    else:
        splits.append(by_site)
    return writer.finish(
        samples=sample_table(seed, cohort),
        targets=TARGETS,
        splits=splits,
        expression=sample_expression(seed, cohort, genes),
        reports=report_table(seed, cohort),
    )
