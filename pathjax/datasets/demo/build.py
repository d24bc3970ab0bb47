"""Builds the synthetic study: renders tiles, draws expression, labels and reports.

A shard holds a group of patients and is built whole or not at all, so that a killed
build goes on where it stopped. A patient depends on (seed, patient number) alone:
neither the number of workers nor the size of the cohort changes it. (Across machines
the last bit of an exponential may differ, and with it a byte.)
"""

import concurrent.futures
import multiprocessing
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from pathjax.data.images import encode_jpeg
from pathjax.data.study import Study, Target
from pathjax.data.study_writer import StudyWriter
from pathjax.datasets.demo.cohort import FEWEST_PATIENTS, cohort_split, site_split
from pathjax.datasets.demo.latents import (
    CANCER_TYPES,
    MSI,
    SUBTYPES,
    TISSUES,
    TP53,
    Patient,
    Stream,
    draw_patient,
    stream,
)
from pathjax.datasets.demo.programmes import FEWEST_GENES, draw_counts, draw_genes
from pathjax.datasets.demo.reports import write_report
from pathjax.datasets.demo.stain import SITES
from pathjax.datasets.demo.tissue import render_tile

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


def render_patient(
    patient: Patient, *, tiles: int, tile_px: int, mpp: float, seed: int
) -> list[Tile]:
    """The tiles of one patient as keyword arguments of `ShardWriter.add`."""
    site = SITES[patient.site]
    side = int(np.ceil(np.sqrt(tiles)))
    rows = []
    for number in range(tiles):
        rgb, tissue = render_tile(patient, number, tile_px=tile_px, mpp=mpp, seed=seed)
        rows.append(
            {
                "data": encode_jpeg(rgb, site.quality),
                "tile_id": f"{patient.patient_id}-T{number + 1:03d}",
                "sample_id": patient.patient_id,
                "patient_id": patient.patient_id,
                "site": site.code,
                "slide_id": f"{patient.patient_id}-S1",
                "x": (number % side) * tile_px,
                "y": (number // side) * tile_px,
                "mpp": mpp,
                "tile_class": tissue,
            }
        )
    return rows


def render_group(
    numbers: range, tiles: int, tile_px: int, mpp: float, seed: int
) -> list[Tile]:
    """The tiles of a shard; what a worker does."""
    return [
        tile
        for number in numbers
        for tile in render_patient(
            draw_patient(seed, number),
            tiles=tiles,
            tile_px=tile_px,
            mpp=mpp,
            seed=seed,
        )
    ]


def render_groups(
    groups: list[range], workers: int, *how: Any
) -> Iterator[tuple[range, list[Tile]]]:
    """Rendered groups, in order, made by so many processes (1: this one)."""
    if workers <= 1:
        for group in groups:
            yield group, render_group(group, *how)
        return
    # spawn: JAX may have started threads here, which a forked child would not have.
    context = multiprocessing.get_context("spawn")
    with concurrent.futures.ProcessPoolExecutor(workers, mp_context=context) as pool:
        pending = [(group, pool.submit(render_group, group, *how)) for group in groups]
        try:
            for group, future in pending:
                yield group, future.result()
        finally:
            pool.shutdown(wait=True, cancel_futures=True)


def draw_expression(seed: int, patients: list[Patient], count: int):
    """AnnData of the cohort: raw counts, their log-normalised X, and the latents.

    `obsm["latents"]` holds the hidden truth, for tests and ceilings; no target reads it.
    """
    import anndata

    genes = draw_genes(seed, count)
    counts = np.stack([draw_counts(seed, one, genes) for one in patients])
    total = np.maximum(counts.sum(axis=1, keepdims=True), 1)
    names = [one.patient_id for one in patients]
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
    for one in patients:
        lost = stream(seed, Stream.MISSING, one.number).random(3) < LABEL_MISSING
        labels = {
            "tp53": TP53[one.tp53],
            "subtype": SUBTYPES[one.basal],
            "msi": MSI[one.msi],
        }
        known = zip(labels.items(), lost, strict=True)
        rows.append(
            {
                "sample_id": one.patient_id,
                "patient_id": one.patient_id,
                "site": SITES[one.site].code,
                "cancer_type": CANCER_TYPES[one.cancer_type],
                **{name: None if gone else value for (name, value), gone in known},
                "purity": one.purity,
                "grade": float(one.grade),
            }
        )
    return pd.DataFrame(rows)


def report_table(seed: int, patients: list[Patient]) -> pd.DataFrame:
    """Reports of nine patients in ten."""
    rows = [
        {"sample_id": one.patient_id, "text": write_report(seed, one)}
        for one in patients
        if stream(seed, Stream.MISSING, one.number, 1).random() >= REPORT_MISSING
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
    progress: Callable[[int, int], None] | None = None,
    workers: int | None = None,
) -> Study:
    """Builds the synthetic study, or finishes one that was begun.

    Args:
      out: the study's directory.
      patients: at least 20, two for each tenth that the smallest fold takes.
      tiles_per_patient: tiles of each.
      tile_px: side of a tile in pixels, at least 16.
      mpp: micrometres per pixel, 0.1 to 4.
      genes: at least two per programme.
      seed: decides everything, not negative.
      progress: called with (tiles done, tiles in all).
      workers: processes that render; None takes the CPUs this process may use. They
        are spawned, so a script that asks for more than one needs the usual
        `if __name__ == "__main__"`.

    Raises:
      ValueError: parameters out of range, all of them at once.
      StudyError: `out` was begun with other parameters.
    """
    wanted = [
        (patients >= FEWEST_PATIENTS, f"patients {patients}, wanted >= 20"),
        (tiles_per_patient >= 1, f"tiles_per_patient {tiles_per_patient}, wanted >= 1"),
        (tile_px >= 16, f"tile_px {tile_px}, wanted >= 16"),
        (0.1 <= mpp <= 4, f"mpp {mpp}, wanted 0.1 to 4"),
        (tile_px * mpp >= 16, f"a tile is {tile_px * mpp} µm wide, wanted >= 16"),
        (genes >= FEWEST_GENES, f"genes {genes}, wanted >= {FEWEST_GENES}"),
        (seed >= 0, f"seed {seed}, wanted >= 0"),
        (workers is None or workers >= 1, f"workers {workers}, wanted >= 1"),
    ]
    wrong = [text for holds, text in wanted if not holds]
    if wrong:
        raise ValueError(f"the demo cannot be built: {'; '.join(wrong)}")
    cohort = [draw_patient(seed, number) for number in range(patients)]
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
    # The order of shards is that of patients, also when some are there already.
    groups = [
        range(first, min(first + GROUP, patients))
        for first in range(0, patients, GROUP)
    ]
    names = {group: f"demo-{number:04d}" for number, group in enumerate(groups)}
    ready = 0
    while ready < len(groups) and writer.has_shard(names[groups[ready]]):
        ready += 1
    missing = groups[ready:]
    done, total = ready * GROUP * tiles_per_patient, patients * tiles_per_patient
    done = min(done, total)
    if progress:
        progress(done, total)
    if workers is None:
        workers = (
            len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else 1
        )
    workers = min(workers, len(missing))
    how = (tiles_per_patient, tile_px, mpp, seed)
    for group, tiles in render_groups(missing, workers, *how):
        with writer.shard(names[group]) as shard:
            for tile in tiles:
                shard.add(**tile)
        done += len(tiles)
        if progress:
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
        expression=draw_expression(seed, cohort, genes),
        reports=report_table(seed, cohort),
    )
