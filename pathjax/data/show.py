"""Describes a study to a person: counts, targets, splits, provenance, a contact sheet.

Holds no table of all tiles: a study of 10^8 is described like one of a hundred.
"""

from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np
import pandas as pd
from jaxtyping import Int, UInt8
from PIL import Image

from pathjax.buckets import shown
from pathjax.data.followup import event_column
from pathjax.data.images import decode_tile
from pathjax.data.measured import describe_panels
from pathjax.data.row_ranges import RowRanges
from pathjax.data.study import Study, Target
from pathjax.data.study_tables import stream
from pathjax.data.variance import describe_variance
from pathjax.files import atomic_path

GAP = 2  # white pixels between tiles


def describe(study: Study) -> Iterator[str]:
    """Lines of plain text about a study."""
    meta, runs, samples = study.meta, study.runs, study.samples
    kind = "SYNTHETIC study" if study.synthetic else "study"
    yield f"{kind} {study.name} at {shown(study.root)}"
    yield (
        f"  {len(study)} tiles of {study.tile_px} px at {study.mpp:.4g} um/px, "
        f"{runs['slide_id'].nunique()} slides, {len(samples)} samples, "
        f"{samples['patient_id'].nunique()} patients, "
        f"{samples['site'].nunique()} sites, {len(meta['shards'])} shards"
    )
    if study.has_expression:
        expression = study.expression()
        yield (
            f"  expression: {expression.n_obs} samples x {expression.n_vars} genes "
            f"({meta['gene_id_type']}), X = "
            f"{expression.uns.get('pathjax', {}).get('x', 'not stated')}"
        )
        yield from describe_panels(expression)
        yield from describe_variance(study, expression)
    yield f"  reports: {len(study.reports())}"
    yield f"  fingerprint {study.fingerprint}"
    yield "targets"
    for target in study.targets.values():
        columns: Iterable[pd.Series]
        if target.level == "tile":
            pieces = stream(study.root / "tiles.parquet", [target.name])
            columns = (piece[target.name].to_pandas() for piece in pieces)
        else:
            columns = [samples[target.name]]
        values = summary(target, columns)
        if target.kind == "survival":
            events = samples[event_column(target.name)]
            values = f"months {values}; {int(events.sum())} samples with the event"
        yield f"  {target.name} ({target.level}, {target.kind}): {values}"
    yield "splits"
    for name in study.split_names:
        split = study.split(name)
        folds = ", ".join(
            f"{fold} {len(ids)} {split.unit.removesuffix('_id')}s, "
            f"{study.fold_runs(name, fold)['tiles'].sum()} tiles"
            for fold, ids in split.folds.items()
        )
        yield f"  {name}: {folds}" + (f" ({split.note})" if split.note else "")
        if split.shared_patients:
            yield f"    shared between folds: {', '.join(split.shared_patients)}"
    yield "provenance"
    for key, value in meta["provenance"].items():
        yield f"  {key}: {value}"
    if meta["skipped"]:
        yield f"skipped: {len(meta['skipped'])}"
        for entry in meta["skipped"][:20]:
            yield f"  {entry['what']}: {entry['reason']}"
        if len(meta["skipped"]) > 20:
            yield f"  ... and {len(meta['skipped']) - 20} more, in study.json"


def summary(target: Target, columns: Iterable[pd.Series]) -> str:
    """A target's values in a few words, from its column in pieces."""
    counts: Counter[str] = Counter()
    low, high, missing = np.inf, -np.inf, 0
    for values in columns:
        missing += int(values.isna().sum())
        if target.kind == "class":
            counts.update(values.value_counts().to_dict())
        elif values.notna().any():
            low, high = min(low, values.min()), max(high, values.max())
    if target.kind == "class":
        text = ", ".join(f"{name} {counts[name]}" for name in target.classes)
    else:
        text = f"{low:.4g} to {high:.4g}" if low <= high else "no value"
    return text + (f"; {missing} missing" if missing else "")


def contact_sheet(
    study: Study, columns: int = 12, rows: int = 8, seed: int = 0
) -> UInt8[np.ndarray, "H W 3"]:
    """Tiles in a grid: `rows` of each of `columns` random slides.

    With fewer slides than columns, random tiles of all of them.
    """
    random = np.random.default_rng(seed)
    slides = study.runs["slide_id"].unique()
    if len(slides) < columns:
        picks = random.choice(len(study), min(columns * rows, len(study)), False)
        picks = np.sort(picks)
    else:
        chosen = random.choice(slides, columns, replace=False)
        owned = [tiles_of_slide(study, slide) for slide in chosen]
        picks = np.concatenate(
            [random.choice(own, rows, replace=len(own) < rows) for own in owned]
        )
    px = study.tile_px + GAP
    count = -(-len(picks) // rows)
    sheet = np.full((rows * px + GAP, count * px + GAP, 3), 255, np.uint8)
    for i, data in enumerate(study.tile_bytes(picks)):
        column, row = divmod(i, rows)
        top, left = GAP + row * px, GAP + column * px
        tile = decode_tile(data)
        sheet[top : top + tile.shape[0], left : left + tile.shape[1]] = tile
    return sheet


def tiles_of_slide(study: Study, slide: str) -> Int[np.ndarray, "n"]:
    """Row numbers of a slide's tiles."""
    return RowRanges.of_runs(study.runs[study.runs["slide_id"] == slide]).to_array()


def save_contact_sheet(study: Study, path: Path, **options: int) -> Path:
    """Writes the contact sheet as PNG and returns its path."""
    with atomic_path(path) as partial:
        Image.fromarray(contact_sheet(study, **options)).save(partial, format="PNG")
    return path
