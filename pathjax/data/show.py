"""Describes a study to a person: counts, targets, splits, provenance, a contact sheet."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
from jaxtyping import UInt8
from PIL import Image

from pathjax.atomic import atomic_path
from pathjax.data.images import decode_tile
from pathjax.data.study import Study

GAP = 2  # white pixels between tiles


def describe(study: Study) -> Iterator[str]:
    """Lines of plain text about a study."""
    meta, tiles, samples = study.meta, study.tiles, study.samples
    kind = "SYNTHETIC study" if study.synthetic else "study"
    yield f"{kind} {study.name} at {study.root}"
    yield (
        f"  {len(tiles)} tiles of {study.tile_px} px at {study.mpp:.4g} um/px, "
        f"{tiles['slide_id'].nunique()} slides, {len(samples)} samples, "
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
    yield f"  reports: {len(study.reports())}"
    yield f"  fingerprint {study.fingerprint}"
    yield "targets"
    for target in study.targets.values():
        frame = tiles if target.level == "tile" else samples
        values = frame[target.name]
        if target.kind == "class":
            counts = values.value_counts()
            text = ", ".join(f"{one} {counts.get(one, 0)}" for one in target.classes)
        else:
            text = f"{values.min():.4g} to {values.max():.4g}"
        missing = int(values.isna().sum())
        yield f"  {target.name} ({target.level}, {target.kind}): {text}" + (
            f"; {missing} missing" if missing else ""
        )
    yield "splits"
    for name in study.split_names:
        split = study.split(name)
        folds = ", ".join(
            f"{fold} {len(ids)} {split.unit.removesuffix('_id')}s, "
            f"{len(study.fold_tiles(name, fold))} tiles"
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


def contact_sheet(
    study: Study, columns: int = 12, rows: int = 8, seed: int = 0
) -> UInt8[np.ndarray, "H W 3"]:
    """Tiles in a grid, a column per slide or patient chosen at random.

    Args:
      study: whose tiles.
      columns: how many slides, fewer when the study has fewer.
      rows: how many tiles of each.
      seed: of the choice.

    Returns:
      RGB `[H, W, 3]`.
    """
    random = np.random.default_rng(seed)
    tiles = study.tiles
    slides = tiles["slide_id"].unique()
    if len(slides) < columns:  # few slides: show more of each
        picks = random.choice(len(tiles), min(columns * rows, len(tiles)), False)
        picks = np.sort(picks)
    else:
        chosen = random.choice(slides, columns, replace=False)
        owned = [np.flatnonzero(tiles["slide_id"] == one) for one in chosen]
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


def save_contact_sheet(study: Study, path: Path, **options: int) -> Path:
    """Writes the contact sheet as PNG and returns its path."""
    with atomic_path(path) as partial:
        Image.fromarray(contact_sheet(study, **options)).save(partial, format="PNG")
    return path
