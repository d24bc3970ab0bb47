"""Builds the paired study of TCGA: a sample is a patient, with slides, RNA and labels.

    slides, or a study of their tiles ─┐
    RNA (h5ad) ────────────────────────┼─► pairing ─► shards, tables, splits ─► study
    label files ───────────────────────┘

Shards are those of the study of tiles, linked where the file system can. What is left
out is listed in `unmatched.parquet`, `label_conflicts.parquet` and slides.parquet.
"""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import anndata
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import scipy.sparse

from pathjax.data.followup import event_column
from pathjax.data.study import Study, StudyError, sha256
from pathjax.data.study_writer import StudyWriter
from pathjax.datasets.dataset import Progress
from pathjax.datasets.options import TcgaOptions
from pathjax.datasets.tcga.labels import Labels, read_labels, targets_of
from pathjax.datasets.tcga.pairing import Pairing, pair
from pathjax.datasets.tcga.rna_table import listing
from pathjax.datasets.tcga.splits import tcga_splits
from pathjax.datasets.tcga.tables import TcgaError
from pathjax.files import atomic_path, reading, told_apart

LICENCE = "TCGA open tier (NIH Genomic Data Sharing Policy)"
ALIQUOT_RULES = ("first", "mean")


def build_tcga(options: TcgaOptions, out: Path, progress: Progress) -> Study:
    """Builds the study, or what of it is missing in `out`.

    Slides are a study of tiles with a shard each (`pathjax tile`), or are tiled into
    `out`/slides with the default options. Labels are tables and MAFs (labels.py).

    Returns:
      The study "tcga": sample-level targets are the labels that any patient has; splits
      as in splits.py.

    Raises:
      StudyError: The slides are no such study, or `out` was begun from another.
      TcgaError: See labels.py, pairing.py; or something is unused and `strict` is set.
    """
    rna, labels = options.rna, options.labels
    source = _study_of_tiles(options.slides, out, progress)
    with reading(rna, TcgaError, "AnnData", "make it with `pathjax data tcga-rna`"):
        table = anndata.read_h5ad(rna)
    joined = read_labels(labels, options.sequenced, options.mutations)
    pairing = pair(
        source.slides,
        table.obs,
        frozen=options.frozen,
        keep_unpaired=options.keep_unpaired,
    )
    samples = _samples(pairing, joined)
    splits, faults = tcga_splits(
        samples, site_preserved=options.site_preserved, seed=options.seed
    )
    unused = _unused(joined, pairing, samples)
    unused += [(f"split {name}", reason) for name, reason in faults.items()]
    if options.strict and unused:
        raise TcgaError(f"{len(unused)} things were not used:\n{listing(unused)}")
    rules = ("frozen", "keep_unpaired", "aliquots", "site_preserved", "seed")
    writer = StudyWriter(
        out,
        name="tcga",
        tile_px=source.tile_px,
        mpp=source.mpp,
        gene_id_type="ensembl"
        if table.var_names.str.startswith("ENSG").all()
        else "symbol",
        synthetic=source.synthetic,
        provenance={
            "licence": LICENCE,
            "slides": {
                "study": source.name,
                "fingerprint": source.fingerprint,
                "provenance": source.meta["provenance"],
            },
            "rna": {"file": rna.name, "sha256": sha256(rna)},
            "labels": {name: sha256(one) for one, name in told_apart(labels).items()},
            "sequenced": sha256(options.sequenced) if options.sequenced else None,
            "rules": {name: getattr(options, name) for name in rules},
        },
        build={"slides": source.fingerprint},
    )
    for done, (slide, rows) in enumerate(_tile_rows(source, pairing.slides), start=1):
        if not writer.has_shard(slide["shard"]):
            path = f"tiles/{slide['shard']}.array_record"
            checksum = source.meta["files"][path]["sha256"]
            writer.adopt(slide["shard"], source.root / path, rows, checksum)
        progress(done, len(pairing.slides))
    for what, reason in unused:
        writer.skip(what, reason)
    for name, frame in (
        ("unmatched", pairing.unmatched),
        ("label_conflicts", joined.conflicts),
    ):
        with atomic_path(writer.root / f"{name}.parquet") as partial:
            frame.to_parquet(partial, index=False)
    return writer.finish(
        samples=samples,
        targets=targets_of(samples),
        splits=splits,
        expression=of_patients(table, pairing.aliquots, options.aliquots),
        slides=_slide_table(source.slides, pairing),
    )


def _study_of_tiles(slides: Path, out: Path, progress: Progress) -> Study:
    if (slides / "study.json").is_file():
        source = Study(slides)
    else:
        from pathjax.wsi.build import tile_study

        source = tile_study(
            slides,
            out / "slides",
            progress=lambda done, total, note: progress(done, total),
        )
    shards = source.slides["shard"][source.slides["status"] == "tiled"]
    if shards.isna().any() or shards.duplicated().any():
        raise StudyError(
            f"{source.root} ({source.name}): expected a study with a shard per slide; "
            "tile the slides with `pathjax tile`"
        )
    return source


def of_patients(
    rna: anndata.AnnData, aliquots: Mapping[str, Sequence[str]], rule: str = "first"
) -> anndata.AnnData:
    """Expression of patients, from that of their aliquots.

    Args:
      rna: Rows named as in `aliquots`.
      aliquots: Patient to its rows.
      rule: "first" of the rows; or "mean" of `X` as it is (a mean of logarithms) and
        the sum of counts, as if the aliquots had been sequenced as one.

    Returns:
      A row per patient; `obs` has sample_type, sample and project of the first row and
      `aliquots`, the names of all that were used.

    Raises:
      ValueError: Unknown rule.
    """
    if rule not in ALIQUOT_RULES:
        raise ValueError(
            f"aliquots: expected one of {', '.join(ALIQUOT_RULES)}; got {rule!r}"
        )
    used = {
        patient: list(names[:1] if rule == "first" else names)
        for patient, names in aliquots.items()
    }
    out = rna[[names[0] for names in used.values()]].copy()
    out.obs_names = pd.Index(list(used), dtype=object)
    columns = [name for name in ("sample_type", "sample", "project") if name in out.obs]
    out.obs = out.obs[columns].assign(aliquots=[", ".join(n) for n in used.values()])
    for row, names in enumerate(used.values()):
        if len(names) == 1:
            continue
        if scipy.sparse.issparse(out.X):
            out.X = out.X.toarray()
        out.X[row] = rna[names].X.mean(axis=0)
        for name in [name for name in out.layers if name is not None]:
            if scipy.sparse.issparse(out.layers[name]):
                out.layers[name] = out.layers[name].toarray()
            out.layers[name][row] = rna[names].layers[name].sum(axis=0)
    out.uns["pathjax"] = {**rna.uns.get("pathjax", {}), "aliquots": rule}
    return out


def _unused(
    labels: Labels, pairing: Pairing, samples: pd.DataFrame
) -> list[tuple[str, str]]:
    """What was given and is not in the study, and why."""
    unused = list(labels.unused)
    patients = set(samples["patient_id"])
    for (patient, label), claims in labels.conflicts.groupby(["patient", "label"]):
        if patient in patients:
            said = [f"{value} ({source})" for value, source in
                    claims[["value", "source"]].values]  # fmt: skip
            unused.append(
                (f"{label} of {patient}", f"sources disagree: {', '.join(said)}")
            )
    for entry in pairing.unmatched.to_dict("records"):
        if not entry["kept"]:
            unused.append((f"{entry['what']} {entry['id']}", entry["reason"]))
    for name, known in labels.patients.items():
        others = sorted(known - patients)
        if others:
            unused.append(
                (
                    f"{len(others)} of {len(known)} patients of {name}",
                    f"not in the study, first {', '.join(others[:3])}",
                )
            )
    return unused


def _samples(pairing: Pairing, labels: Labels) -> pd.DataFrame:
    """A row per patient: ids, site, labels and where each is from."""
    columns = ["sample_id", "patient_id", "site"]
    samples = pairing.slides[columns].drop_duplicates("sample_id")
    samples = samples.sort_values("sample_id", ignore_index=True)
    known = labels.table.reindex(samples["patient_id"]).reset_index(drop=True)
    known = known.astype(object).where(known.notna(), None)
    for target in targets_of(known):
        for name in (target.name, event_column(target.name)):
            if target.kind != "class" and name in known:
                known[name] = known[name].astype(np.float64)
    return pd.concat([samples, known], axis=1)


def _tile_rows(
    source: Study, slides: pd.DataFrame
) -> Iterator[tuple[dict[str, object], pd.DataFrame]]:
    """Each slide with the rows of its tiles, assigned to its patient.

    Row groups are read once, in order; memory is one row group and one slide.
    """
    with pq.ParquetFile(source.root / "tiles.parquet") as file:
        groups = range(file.metadata.num_row_groups)
        sizes = [file.metadata.row_group(group).num_rows for group in groups]
        ends = np.cumsum(sizes)
        held: dict[int, pa.Table] = {}
        for slide in slides.sort_values("first_row").to_dict("records"):
            first, stop = slide["first_row"], slide["first_row"] + slide["tiles"]
            low = int(np.searchsorted(ends, first, side="right"))
            high = int(np.searchsorted(ends, stop, side="left"))
            held = {
                group: held[group] if group in held else file.read_row_group(group)
                for group in range(low, high + 1)
            }
            start = first - (int(ends[low]) - sizes[low])
            rows = pa.concat_tables(held.values()).slice(start, slide["tiles"])
            owner = {name: slide[name] for name in ("sample_id", "patient_id", "site")}
            yield slide, rows.to_pandas().assign(**owner)


def _slide_table(slides: pd.DataFrame, pairing: Pairing) -> pd.DataFrame:
    """All slides of the study of tiles; those without a partner as skipped."""
    places = ["tiles", "first_row"]  # the writer sets the new ones
    left = slides[~slides["slide_id"].isin(pairing.slides["slide_id"])]
    reasons = pairing.unmatched[pairing.unmatched["what"] == "slide"]
    reason = left["slide_id"].map(reasons.set_index("id")["reason"])
    left = left.assign(status="skipped", reason=reason, shard=None)
    return pd.concat([pairing.slides, left], ignore_index=True).drop(columns=places)
