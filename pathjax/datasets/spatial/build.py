"""Samples to a study: a tile and counts for each spot.

A sample that cannot be trusted is left out with its reason; it is an error if none is
left. Warnings go to the log and into the study's provenance.
"""

import dataclasses
import hashlib
import json
import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
import pandas as pd
from PIL import Image

from pathjax.data.images import encode_jpeg
from pathjax.data.study import Split, Study, StudyError, listing
from pathjax.data.study_writer import SAFE_NAME, StudyWriter
from pathjax.datasets.dataset import Progress
from pathjax.datasets.spatial.checks import checked
from pathjax.datasets.spatial.formats import recognise
from pathjax.datasets.spatial.genes import join
from pathjax.datasets.spatial.image import cut_tiles
from pathjax.datasets.spatial.manifest import SampleRow
from pathjax.datasets.spatial.options import SpatialOptions
from pathjax.datasets.spatial.sample import UNKNOWN, Note, SpatialError, SpatialSample
from pathjax.datasets.spatial.survey import Survey
from pathjax.datasets.spatial.tables import join_samples, patient_split, sample_table
from pathjax.files import atomic_path, write_json

log = logging.getLogger(__name__)

QUALITY = 90  # of the JPEG tiles


def build_spatial(
    rows: Sequence[SampleRow],
    out: str | Path,
    options: SpatialOptions | None = None,
    *,
    progress: Progress = lambda done, total: None,
) -> Study:
    """Builds a study, or completes the one in `out`.

    Args:
      rows: The samples to read.
      out: The study's directory.
      options: How.
      progress: Called with (samples done, number of samples).

    Returns:
      The study. Besides targets, its samples have `array_row`, `array_col` (where there
      is an array), `pixel_x`, `pixel_y` (level-0 pixels), `source_mpp`, `enlargement`
      (tile pixels per image pixel) and `upsampled` (enlargement above 1.5). Tiles have
      `filled`, the share of their area outside the image. `thumbnails/` has each image.

    Raises:
      StudyError: No sample can be used, or `out` was begun with other options.
    """
    options = options or SpatialOptions()

    def read(row: SampleRow) -> SpatialSample:
        known = recognise(row.path)
        (path,) = known.samples(row.path)
        return known.read(path, dataclasses.replace(options, image=row.image))

    return write_study(list(expanded(rows)), read, out, options, progress=progress)


def write_study(
    rows: Sequence[SampleRow],
    read: Callable[[SampleRow], SpatialSample],
    out: str | Path,
    options: SpatialOptions,
    *,
    splits: Callable[[pd.DataFrame], tuple[list[Split], list[Note]]] = patient_split,
    descriptions: Mapping[str, str] = MappingProxyType({}),
    provenance: Mapping[str, Any] = MappingProxyType({}),
    progress: Progress = lambda done, total: None,
) -> Study:
    """The study of samples that `read` reads one by one; see `build_spatial`.

    Args:
      rows, out, options, progress: As there.
      read: Raises StudyError for a sample that cannot be used.
      splits: From the table of samples, with what cannot be made and why.
      descriptions: Of targets, by name.
      provenance: More of it.
    """
    if not (options.tile_um > 0 and options.tile_px > 0):
        raise SpatialError(
            f"expected sizes above 0, got {options.tile_um} um, {options.tile_px} px"
        )
    abouts: dict[str, Any] = {}
    writer = StudyWriter(
        out,
        name=options.name,
        tile_px=options.tile_px,
        mpp=options.tile_um / options.tile_px,
        gene_id_type="symbol",
        # The writer writes it last, when `abouts` is filled.
        provenance={
            **provenance,
            "options": dataclasses.asdict(options),
            "samples": abouts,
        },
        build={"tile_um": options.tile_um, "tile_px": options.tile_px},
    )
    used: list[SpatialSample] = []
    tables: list[pd.DataFrame] = []
    reasons: list[str] = []
    for done, row in enumerate(rows, start=1):
        sample = None
        try:
            sample = read(row)
            sample = with_row(sample, row, options)
            _require_new(sample, used)
            sample, about, table = _write_sample(writer, sample, row, options)
        except StudyError as error:
            name = row.name or str(row.path)
            if options.strict or len(rows) == 1:
                raise
            log.warning("%s is left out: %s", name, error)
            writer.skip(name, str(error))
            reasons.append(f"{name}: {error}")
        else:
            abouts[sample.name] = about
            used.append(sample)
            tables.append(table)
            for what, reason in sample.left_out:
                writer.skip(f"{sample.name}: {what}", reason)
        finally:
            if sample is not None:
                sample.image.close()
        progress(done, len(rows))
    if not used:
        raise StudyError(f"no sample can be used: {listing(reasons)}")
    joined, targets = join_samples(tables)
    made, missing = splits(joined)
    expression, notes = join(
        {sample.name: sample.counts for sample in used},
        options.genes_join,
        options.normalise,
        {sample.name: sample.organism for sample in used},
    )
    for what, reason in [*missing, *notes]:
        writer.skip(what, reason)
    if (expression.var_names == expression.var["ensembl"]).all():
        writer.gene_id_type = "ensembl"
    return writer.finish(
        samples=joined,
        targets=[
            dataclasses.replace(
                one, description=descriptions.get(one.name, one.description)
            )
            for one in targets
        ],
        splits=made,
        expression=expression,
    )


def expanded(rows: Sequence[SampleRow]) -> Iterator[SampleRow]:
    """A row for each sample: a path may hold several, as HEST-1k's folder does.

    Raises:
      SpatialError: A name or an image was given for several samples.
    """
    for row in rows:
        try:
            paths = recognise(row.path).samples(row.path)
        except StudyError:
            paths = [row.path]  # reading it says why
        if len(paths) > 1 and (row.name or row.image):
            what = f"name {row.name}" if row.name else f"image {row.image}"
            raise SpatialError(
                f"{row.path} holds {len(paths)} samples, but one {what} was given: name "
                f"them in a manifest, such as {paths[0]}"
            )
        yield from (dataclasses.replace(row, path=path) for path in paths)


def with_row(
    sample: SpatialSample, row: SampleRow, options: SpatialOptions
) -> SpatialSample:
    """The sample with what the user says of it.

    Raises:
      SpatialError: Its own metadata names another patient or site.
    """
    for what in ("patient", "site"):
        said, given = getattr(sample, what), getattr(row, what)
        # HEST's patients are "DATASET:Patient 1", and unknown in some data sets.
        agree = said == given or (said or "").endswith((f":{given}", UNKNOWN))
        if said and given and not agree:
            raise SpatialError(
                f"{row.path}: its metadata names {what} {said}, the manifest "
                f"{given}: correct one of them"
            )
    mpp = sample.mpp
    if row.mpp or options.mpp:
        mpp = {"the manifest": row.mpp} if row.mpp else {"--mpp": options.mpp}
    return dataclasses.replace(
        sample,
        name=row.name or sample.name,
        patient=row.patient or sample.patient,
        site=row.site or sample.site,
        mpp=mpp,
    )


def _require_new(sample: SpatialSample, used: Sequence[SpatialSample]) -> None:
    if not SAFE_NAME.fullmatch(sample.name):
        raise SpatialError(
            f"{sample.name!r} cannot name a sample: use letters, digits, '.', '_' and "
            "'-' in the manifest's column sample"
        )
    if sample.name in [other.name for other in used]:
        raise SpatialError(
            f"two samples are called {sample.name}: give names in a manifest's column "
            "sample"
        )


def _write_sample(
    writer: StudyWriter, sample: SpatialSample, row: SampleRow, options: SpatialOptions
) -> tuple[SpatialSample, dict[str, Any], pd.DataFrame]:
    """Checks a sample and writes its tiles and thumbnail."""
    counts = np.asarray(sample.counts.X.sum(axis=1)).ravel()
    few = counts < options.min_counts
    if few.any():
        what = (f"{few.sum()} spots", f"fewer than {options.min_counts} counts")
        if few.all():
            raise SpatialError(f"sample {sample.name}: {what[0]}: {what[1]}")
        sample = dataclasses.replace(
            sample.keep(~few), left_out=(*sample.left_out, what)
        )
    sample, mpp, survey = checked(sample, options)
    if options.strict and sample.notes:
        raise SpatialError(f"sample {sample.name}: {listing(sample.notes)}")
    for note in sample.notes:
        log.warning("%s: %s", sample.name, note)
    patient = sample.patient or sample.name
    sample = dataclasses.replace(sample, patient=patient, site=sample.site or "unknown")
    side = options.tile_um / mpp
    tiles = _write_tiles(writer, sample, survey, side, options)
    _write_thumbnail(writer.root, sample.name, survey)
    size, image = sample.image.size, sample.image
    about = {
        "path": str(row.path),
        "technology": sample.technology,
        "organism": sample.organism,
        "spots": len(sample.positions),
        "image": str(image.path) if image.path else image.note or "array",
        "image_note": image.note,
        "image_px": list(size),
        "mpp": round(mpp, 5),
        "mpp_evidence": {key: round(value, 5) for key, value in sample.mpp.items()},
        "spot_um": sample.spot_um,
        "thumbnail_scale": survey.thumbnail_scale,
        "warnings": list(sample.notes),
        **tiles,
    }
    table = sample_table(sample, mpp, options.tile_px / side, row.labels)
    return sample, about, table


def _write_tiles(
    writer: StudyWriter,
    sample: SpatialSample,
    survey: Survey,
    side: float,
    options: SpatialOptions,
) -> dict[str, Any]:
    """Cuts the tiles, unless they were cut from the same image and positions before."""
    ids = np.array(sample.sample_ids, dtype=object)
    digest = hashlib.sha256(sample.image.digest.encode())
    for part in (sample.positions.tobytes(), "\n".join(ids).encode(), repr(side)):
        digest.update(part if isinstance(part, bytes) else part.encode())
    background = survey.background

    def write() -> dict[str, Any]:
        filled_tiles = 0
        cut = cut_tiles(
            sample.image, sample.positions, side, options.tile_px, background
        )
        with writer.shard(sample.name) as shard:
            for row, tile, filled in cut:
                x, y = sample.positions[row] - side / 2
                filled_tiles += filled > 0
                shard.add(
                    encode_jpeg(tile, QUALITY),
                    tile_id=ids[row],
                    sample_id=ids[row],
                    patient_id=sample.patient,
                    site=sample.site,
                    x=round(x),
                    y=round(y),
                    filled=filled,
                )
        return {
            "background_rgb": background.tolist(),
            "tiles_with_filled_edges": filled_tiles,
            "source_px_per_tile": round(side, 1),
            "sha256": sample.image.digest,
        }

    return unless_kept(writer, sample.name, digest.hexdigest(), write)


def unless_kept(
    writer: StudyWriter, shard: str, source: str, write: Callable[[], dict[str, Any]]
) -> dict[str, Any]:
    """What `write` returns of a shard, or returned when it wrote it from the same source.

    The writer knows whether a shard is whole; this, whether its source has changed.
    """
    path = writer.root / ".build" / f"{shard}.sources.json"
    if path.is_file():
        kept = json.loads(path.read_text(encoding="utf-8"))
        if kept["source"] == source and writer.has_shard(shard):
            return kept["made"]
    made = write()
    write_json(path, {"source": source, "made": made})
    return made


def _write_thumbnail(root: Path, name: str, survey: Survey) -> None:
    path = root / "thumbnails" / f"{name}.jpg"
    path.parent.mkdir(exist_ok=True)
    with atomic_path(path) as partial:
        Image.fromarray(survey.thumbnail).save(partial, format="JPEG", quality=85)
