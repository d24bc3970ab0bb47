"""Embeddings: tiles of a study or images of a folder through a model's encoder.

    source -> batches, prepared as the model expects -> jitted encoder over all devices
           -> rows on disk (embedding_rows.py) -> FILE.h5 when complete

Jobs of an array each embed a shard of the tiles, into rows of its own.

Nothing is pooled over tiles here: tasks pool tiles into samples.
"""

import contextlib
import dataclasses
import functools
import itertools
import shutil
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np
from jax.sharding import Mesh
from jaxtyping import Float, Int

from pathjax import objectives
from pathjax.data.pipeline import Batch
from pathjax.data.preprocess import Preprocess
from pathjax.data.tile_source import Prepare, TileSource
from pathjax.data.transforms import centre_crop
from pathjax.embeddings.embedding_file import EmbeddingError, read_header, write_file
from pathjax.embeddings.embedding_rows import WAIT, EmbeddingRows, differences
from pathjax.files import short_name
from pathjax.models.model_file import IMPORTED, Model
from pathjax.models.variants import nearest_multiples
from pathjax.models.vit import ViTConfig
from pathjax.parallel.lock import exclusive
from pathjax.parallel.mesh import batch_sharding, make_mesh, replicated
from pathjax.parallel.shard import Shard, begun, missing


@functools.cache
def _embed_step(vit: ViTConfig, devices: int) -> Callable:
    """The step on this process's devices, compiled once per config and shape."""
    return make_embed_step(vit, make_mesh(among=jax.local_devices()))


def make_embed_step(vit: ViTConfig, mesh: Mesh) -> Callable:
    """Returns the jitted encoder: (parameters, tiles [N, H, W, 3] uint8) -> [N, E].

    N divides over the devices of `mesh`; parameters and result are on each of them.
    """

    def embed(params, image):
        return objectives.encode(vit, params, image)

    whole = replicated(mesh)
    return jax.jit(
        embed, in_shardings=(whole, batch_sharding(mesh)), out_shardings=whole
    )


def _preparation(
    model: Model, source: TileSource
) -> tuple[int, Prepare, dict[str, Any]]:
    """Side of the model's input, how tiles are prepared, and a description for files.

    As the model's `preprocess` says. Without one, tiles of a study are cropped, since
    they have the scale that they were cut for; images of a folder are resized, since
    their scale is unknown.
    """
    asked, px = model.meta.get("preprocess"), model.meta["image_px"]
    if asked is None and source.kind == "study":
        return px, functools.partial(centre_crop, px=px), {"crop": px}
    prepare = Preprocess.from_json(asked) if asked else Preprocess(px, px, "bilinear")
    return prepare.crop, prepare, dataclasses.asdict(prepare)


def at_image_px(model: Model, image_px: int | None) -> Model:
    """The model with another input size; None keeps its own.

    The resize before the crop is scaled with it, and position embeddings are resampled
    when the model runs.

    Raises:
      EmbeddingError: The model was trained by pathjax, at one scale; or `image_px` is no
        multiple of the patch.
    """
    own = model.meta["image_px"]
    if image_px is None or image_px == own:
        return model
    if model.meta["objective"]["name"] != IMPORTED:
        raise EmbeddingError(
            f"image_px={image_px}: the model was trained at {own} px, and tiles of "
            "another size have another magnification; embed without it, or train from "
            f"a model that was imported with --image-px {image_px}"
        )
    patch = model.vit.patch
    if image_px < patch or image_px % patch:
        raise EmbeddingError(
            f"image_px={image_px}: expected a multiple of the patch, {patch}, such as "
            f"{nearest_multiples(image_px, patch)}"
        )
    preprocess = Preprocess.from_json(model.meta["preprocess"]).scaled(image_px)
    form = {"image_px": image_px, "preprocess": dataclasses.asdict(preprocess)}
    return dataclasses.replace(model, meta={**model.meta, **form})


def _pooled(vit: ViTConfig, pool: str | None) -> ViTConfig:
    return vit if pool is None else vit.replace(pool=pool)


def _embed(
    model: Model,
    source: TileSource,
    rows: Int[np.ndarray, "n"] | range,
    *,
    vit: ViTConfig,
    batch: int,
    threads: int,
) -> Iterator[tuple[Float[np.ndarray, "m E"], Batch, int]]:
    """Features of a batch's unmasked tiles, the batch, and its number of tiles.

    The next batch is dispatched before the last one is fetched.
    """
    if batch < 1:
        raise EmbeddingError(f"expected a batch of at least 1 tile, got {batch}")
    # This process's own devices: processes do not embed together.
    mesh = make_mesh(among=jax.local_devices())
    batch = -(-batch // mesh.size) * mesh.size
    step = _embed_step(vit, mesh.size)
    params = jax.device_put(model.params["vit"], replicated(mesh))
    px, prepare, _ = _preparation(model, source)
    batches = source.batches(rows, batch=batch, px=px, prepare=prepare, threads=threads)

    def fetch(pending, part: Batch, start: int):
        features = np.asarray(pending, np.float32)[part["mask"]]
        bad = np.flatnonzero(~np.isfinite(features).all(axis=1))
        if len(bad):
            numbers = np.asarray(rows[start : start + batch])
            numbers = numbers[part["mask"][: len(numbers)]]
            raise EmbeddingError(
                f"{len(bad)} of {len(features)} embeddings of a batch are not finite, "
                f"first tile {source.tile_ids(numbers[bad[:1]])[0]}: the model is "
                "damaged"
            )
        return features, part, min(batch, len(rows) - start)

    waiting = None
    for number, part in enumerate(batches):
        # With several processes jit accepts no host array that has to be sharded.
        image = jax.device_put(part["image"], batch_sharding(mesh))
        started = step(params, image), part, number * batch
        if waiting:
            yield fetch(*waiting)
        waiting = started
    if waiting:
        yield fetch(*waiting)


@dataclasses.dataclass(frozen=True)
class Embedded:
    """The outcome of `embed_to_file`.

    Attributes:
      rows, width: Shape of the features, N and E.
      skipped: {"what", "reason"} for each image that could not be read.
      kept: Tiles that earlier runs had processed; all when there was nothing to do.
    """

    rows: int
    width: int
    skipped: list[dict[str, str]]
    kept: int


def embed_to_file(
    model: Model,
    source: TileSource,
    path: Path,
    *,
    model_id: str,
    meta: dict[str, Any] | None = None,
    pool: str | None = None,
    batch: int = 64,
    threads: int = 2,
    overwrite: bool = False,
    shard: Shard | None = None,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> Embedded:
    """Embeds all tiles of a source into FILE.h5, or those that are missing.

    Rows are collected in FILE.h5.partial until all are there. After an interruption the
    same call resumes and ends with the same bytes: a batch takes the same tiles whether
    others are broken, or were done before or by another shard. (Another batch size or
    other devices are allowed and may change a row's last bits.) Memory does not grow
    with the number of a study's tiles.

    Args:
      model: Whose encoder.
      source: Of the tiles; images of another size are resized as `Preprocess` does.
      path: FILE.h5.
      model_id: Identifies the parameters, such as the hash of their file.
      meta: More to write into the file.
      pool: "cls", "mean" or "cls_mean"; the model's own when None.
      batch: Tiles per step, rounded up to a multiple of the devices.
      threads: Reading threads.
      overwrite: Replace a file, or an unfinished one, of another model, input or
        pooling.
      shard: Embed this part of the tiles and write no FILE.h5. Where shards have been
        begun, a call without one joins them.
      progress: Called with (tiles done, tiles of the source or of the shard).

    Raises:
      EmbeddingError: `path` has, or was started with, something else; no image could be
        read; a feature is not finite; a shard is missing.
      StudyError: A tile of a study is broken.
    """
    path = Path(path)
    vit = _pooled(model.vit, pool)
    identity = {
        "model": model_id,
        "input": source.fingerprint,
        "pool": vit.pool,
        "preprocess": _preparation(model, source)[2],
    }
    folder = path.with_name(short_name(f"{path.name}.partial"))
    lock = exclusive(folder / ".lock", EmbeddingError, WAIT)
    if finished := _finished(path, identity, overwrite, len(source)):
        if folder.exists() and shard is None:
            with lock:  # interrupted between writing FILE.h5 and removing the rows
                pass
            shutil.rmtree(folder)
        return finished

    shards = [] if shard else begun(folder)
    restart = overwrite and not shards  # a join starts nothing again

    def rows_of(one: Shard | None) -> EmbeddingRows:
        where = folder / one.name if one else folder
        about = {"batch": batch, "shard": str(one)} if one else {}
        return EmbeddingRows(where, identity | about, vit.embed_dim, overwrite=restart)

    with contextlib.ExitStack() as held:
        kept = len(source)
        if shards:
            held.enter_context(lock)
            parts = _complete(folder, shards, rows_of, len(source), batch)
        else:
            tiles = shard.rows(len(source), batch) if shard else range(len(source))
            rows = held.enter_context(rows_of(shard))
            kept, parts = rows.tiles, [rows]
            if kept:
                progress(kept, len(tiles))
            for features, more, count in _embed(
                model, source, tiles[kept:], vit=vit, batch=batch, threads=threads
            ):
                skipped, sizes = more.get("skipped", []), more.get("sizes", set())
                rows.append(features, tiles=count, skipped=skipped, sizes=sizes)
                progress(rows.tiles, len(tiles))
        reasons = dict(pair for rows in parts for pair in rows.skipped)
        broken = np.array([*reasons], int)
        skipped = [
            {"what": name, "reason": reason}
            for name, reason in zip(
                source.tile_ids(broken), reasons.values(), strict=True
            )
        ]
        made = Embedded(sum(rows.rows for rows in parts), vit.embed_dim, skipped, kept)
        if shard:
            return made
        if made.rows:
            about = {"model": model_id, "identity": identity, "skipped": skipped}
            sizes = set().union(*(rows.sizes for rows in parts))
            write_file(
                path,
                itertools.chain.from_iterable(rows.blocks() for rows in parts),
                source,
                broken,
                about | (meta or {}),
                width=vit.embed_dim,
                attributes=source.attributes(sizes),
            )
        held.close()  # NFS keeps a folder while a file in it is open
        shutil.rmtree(folder)
    if not made.rows:
        raise EmbeddingError(
            f"none of the {len(source)} images of {source.name} can be read, first "
            f"{skipped[0]['what']}: {skipped[0]['reason']}"
        )
    return made


def _complete(
    folder: Path,
    shards: Sequence[Shard],
    rows_of: Callable[[Shard], EmbeddingRows],
    tiles: int,
    batch: int,
) -> list[EmbeddingRows]:
    """The rows of all shards, in order; those that have tiles."""
    parts, lacking = [], []
    for one in shards:
        done = 0
        if (folder / one.name).exists():
            with rows_of(one) as rows:
                parts.append(rows)
            done = rows.tiles
        if done < len(one.rows(tiles, batch)):
            lacking.append(one)
    if lacking:
        raise EmbeddingError(missing(folder, lacking, f"{tiles} tiles"))
    return parts


def _finished(
    path: Path, identity: dict[str, Any], overwrite: bool, tiles: int
) -> Embedded | None:
    """FILE.h5's content when it is the expected one; None when it may be written."""
    if not path.exists():
        return None
    try:
        meta, (rows, width) = read_header(path)
    except EmbeddingError:
        if overwrite:
            return None
        raise
    old = meta.get("identity", {})
    if old == identity:
        return Embedded(rows, width, meta["skipped"], kept=tiles)
    if overwrite:
        return None
    raise EmbeddingError(
        f"{path} has embeddings with {differences(old, identity)}: choose another --out, "
        "or add --overwrite to replace them"
    )
