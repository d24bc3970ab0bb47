"""Embedding a study and a folder: right, whatever is broken, and gone on with exactly."""

import dataclasses
import json
import os
import signal
import subprocess
import sys
import time

import h5py
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from embedded import embed_tiles
from PIL import Image

from pathjax.cli import main
from pathjax.data.images import decode_tile
from pathjax.data.preprocess import Preprocess
from pathjax.data.tile_source import ImageFolder, StudyTiles
from pathjax.data.transforms import centre_crop
from pathjax.embeddings.embed import at_image_px, embed_to_file
from pathjax.embeddings.embedding_file import EmbeddingError, read_embeddings
from pathjax.models.model_file import Model, save_model
from pathjax.models.vit import ViT, ViTConfig, vit_config
from pathjax.parallel.shard import Shard

META = {"image_px": 16, "audit": [], "objective": {"name": "dino"}}


def made(vit: ViTConfig, **meta) -> Model:
    pixels = jnp.zeros((1, 16, 16, 3))
    params = jax.jit(ViT(vit).init)(jax.random.key(0), pixels)["params"]
    params = jax.tree.map(np.asarray, params)
    return Model({"vit": params}, vit, META | meta)


@pytest.fixture(scope="module")
def model():
    return made(vit_config("Xs/8", width=24, depth=1, image_px=16))


def oracle(model, tiles, pool="cls"):
    """The encoder called by itself, one tile after the other, pixels in [-1, 1]."""
    apply = jax.jit(ViT(model.vit).apply)
    rows = []
    for tile in tiles:
        pixels = jnp.asarray(tile[None] / 127.5 - 1, jnp.float32)
        out = apply({"params": model.params["vit"]}, pixels)
        cls, mean = np.asarray(out.cls[0]), np.asarray(out.patches[0]).mean(axis=0)
        both = np.concatenate([cls, mean])
        rows.append({"cls": cls, "mean": mean, "cls_mean": both}[pool])
    return np.stack(rows)


def close(a, b):
    np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5)


@pytest.fixture
def folder(tmp_path):
    """20 images of two sizes, numbers 3 and 12 of them broken."""
    root = tmp_path / "images"
    for i in range(20):
        place = root / f"s{i % 2}" / f"t{i:02d}_x{50 * i}_y{i}.png"
        place.parent.mkdir(parents=True, exist_ok=True)
        side = 16 if i < 10 else 23
        rng = np.random.default_rng(i)
        pixels = rng.integers(0, 256, (side, side + i % 2, 3), np.uint8)
        Image.fromarray(pixels).save(place)
    for row in (3, 12):
        path = root / ImageFolder(root).paths[row]
        path.write_bytes(path.read_bytes()[:99])
    return ImageFolder(root)


def contents(path):
    with h5py.File(path) as file:
        found = {name: file[name][()] for name in file}
        found |= {f"{name}@": dict(file[name].attrs) for name in file}
        return found, json.loads(file.attrs["pathjax"])


def interrupt(number):
    """A progress that stops a run once so many tiles are done."""

    def progress(done, total):
        if done >= number:
            raise KeyboardInterrupt

    return progress


def test_a_study_is_cropped_to_the_model(tiny_study, model):
    rows = np.array([3, 70, 4])
    tiles = [decode_tile(data) for data in tiny_study.tile_bytes(rows)]
    found = embed_tiles(model, tiny_study, rows, batch=8)
    close(found, oracle(model, [centre_crop(tile, 16) for tile in tiles]))
    close(embed_tiles(model, tiny_study, batch=16)[rows], found)
    assert embed_tiles(model, tiny_study, rows[:0]).shape == (0, 24)


@pytest.mark.parametrize("pool", ["cls", "mean", "cls_mean"])
def test_pooling_is_chosen(tiny_study, model, pool):
    rows = np.arange(4)
    tiles = [decode_tile(data)[8:24, 8:24] for data in tiny_study.tile_bytes(rows)]
    found = embed_tiles(model, tiny_study, rows, pool=pool, batch=8)
    close(found, oracle(model, tiles, pool))


def test_a_model_that_asks_for_preprocessing_gets_it(tiny_study, model, folder):
    wanted = Preprocess(24, 16, "bicubic")
    asking = made(model.vit, preprocess=dataclasses.asdict(wanted))
    rows = np.arange(3)
    tiles = [decode_tile(data) for data in tiny_study.tile_bytes(rows)]
    found = embed_tiles(asking, tiny_study, rows, batch=8)
    close(found, oracle(asking, [wanted(tile) for tile in tiles]))
    path = folder.root.parent / "e.h5"
    embed_to_file(asking, folder, path, model_id="a", batch=8)
    features = contents(path)[0]["features"]
    first = np.asarray(Image.open(folder.root / folder.paths[0]))
    close(features[:1], oracle(asking, [wanted(first)]))


def test_a_public_model_at_another_size(tiny_study, model, folder, tmp_path, capsys):
    """Resize and crop are scaled together; a trained model keeps its size."""
    steps = {"resize": 24, "crop": 16, "interpolation": "bicubic"}
    public = made(model.vit, preprocess=steps, objective={"name": "imported"})
    larger = at_image_px(public, 32)
    assert larger.meta["preprocess"] == steps | {"resize": 48, "crop": 32}
    assert at_image_px(public, 16) is at_image_px(public, None) is public
    rows = np.arange(2)
    tiles = [decode_tile(data) for data in tiny_study.tile_bytes(rows)]
    prepare = Preprocess(48, 32, "bicubic")
    close(
        embed_tiles(larger, tiny_study, rows, batch=8),
        oracle(public, [prepare(tile) for tile in tiles]),
    )
    with pytest.raises(EmbeddingError, match="multiple of the patch, 8, such as 16 or"):
        at_image_px(public, 20)
    with pytest.raises(EmbeddingError, match="trained at 16 px, and tiles of another"):
        at_image_px(model, 32)
    save_model(tmp_path / "public", public)
    words = ["embed", str(tmp_path / "public"), str(folder.root), "--batch=8"]
    words += ["--out", str(tmp_path / "e.h5")]
    assert main([*words, "--image-px", "32"]) == 0
    capsys.readouterr()
    assert main(words) == 1  # embeddings of two sizes are not mixed
    assert "preprocess" in capsys.readouterr().err


def test_a_folder_of_images(model, folder, tmp_path):
    path = tmp_path / "e.h5"
    embedded = embed_to_file(model, folder, path, model_id="sha256:a", batch=8)
    assert (embedded.rows, embedded.width, embedded.kept) == (18, 24, 0)
    kept = [row for row in range(20) if row not in (3, 12)]
    found, meta = contents(path)
    resize = Preprocess(16, 16, "bilinear")
    images = [np.asarray(Image.open(folder.root / folder.paths[row])) for row in kept]
    close(found["features"], oracle(model, [resize(image) for image in images]))
    ids = [name.decode() for name in found["tile_id"]]
    assert ids == [folder.paths[row] for row in kept]
    for name, place in zip(ids, found["coords"], strict=True):
        assert name.endswith(f"_x{place[0]}_y{place[1]}.png")
    assert found["coords@"] == {"name": "images"}  # sizes differ
    assert [entry["what"] for entry in meta["skipped"]] == [
        folder.paths[3],
        folder.paths[12],
    ]
    assert all(entry["reason"] for entry in meta["skipped"])
    assert meta["identity"]["preprocess"] == dataclasses.asdict(resize)
    assert meta["images"] == "images" and meta["model"] == "sha256:a"
    assert [entry.name for entry in tmp_path.glob("e.h5*")] == ["e.h5"]


@pytest.mark.parametrize("kind", ["images", "study"])
def test_an_interrupted_run_goes_on_and_ends_with_the_same_file(
    model, folder, tiny_study, tmp_path, kind
):
    source = folder if kind == "images" else StudyTiles(tiny_study)
    once, often = tmp_path / "once.h5", tmp_path / "often.h5"
    embed_to_file(model, source, once, model_id="a", batch=8)
    for number in (8, 16):
        with pytest.raises(KeyboardInterrupt):
            embed_to_file(
                model,
                source,
                often,
                model_id="a",
                batch=8,
                progress=interrupt(number),
            )
        assert not often.exists()
    # What a kill while writing leaves: part of a chunk, part of a line.
    partial = tmp_path / "often.h5.partial"
    with open(partial / "rows.f32", "ab") as file:
        file.write(b"\x01" * 101)
    with open(partial / "journal.jsonl", "ab") as file:
        file.write(b'{"tiles": 8, "ro')
    done = []
    embedded = embed_to_file(
        model,
        source,
        often,
        model_id="a",
        batch=8,
        progress=lambda now, total: done.append(now),
    )
    assert embedded.kept == 16 and done[:2] == [16, min(24, len(source))]
    assert often.read_bytes() == once.read_bytes()
    assert not partial.exists()


@pytest.mark.parametrize("kind", ["images", "study"])
@pytest.mark.parametrize("count", [2, 4])
def test_shards_join_to_the_bytes_of_one_process(
    model, folder, tiny_study, tmp_path, kind, count
):
    source = folder if kind == "images" else StudyTiles(tiny_study)
    how = {"model_id": "a", "batch": 8}
    once, joined = tmp_path / "once.h5", tmp_path / "joined.h5"
    embed_to_file(model, source, once, **how)
    shards = [Shard(k, count) for k in range(1, count + 1)]
    for one in shards:
        if one == shards[-1]:
            lacking = f"lacks 1 of {count} shards of {len(source)} tiles: {one}. Run"
            with pytest.raises(EmbeddingError, match=lacking):
                embed_to_file(model, source, joined, **how)
            with pytest.raises(KeyboardInterrupt):  # in part
                embed_to_file(
                    *(model, source, joined), **how, shard=one, progress=interrupt(1)
                )
            if kind == "study":
                with pytest.raises(EmbeddingError, match=lacking):
                    embed_to_file(model, source, joined, **how)
        embed_to_file(model, source, joined, **how, shard=one)
        assert not joined.exists()
    with pytest.raises(EmbeddingError, match="with batch 8, now 16"):
        embed_to_file(model, source, joined, model_id="a", batch=16, overwrite=True)
    with pytest.raises(EmbeddingError, match="with model 'a', now 'b'"):
        embed_to_file(model, source, joined, model_id="b", batch=8)
    made = embed_to_file(model, source, joined, **how)
    assert made.kept == len(source) and joined.read_bytes() == once.read_bytes()
    assert not (tmp_path / "joined.h5.partial").exists()
    assert embed_to_file(model, source, joined, **how, shard=shards[0]) == made
    assert not (tmp_path / "joined.h5.partial").exists()


def test_a_shard_is_embedded_by_one_process_at_a_time(model, folder, tmp_path):
    how = {"model_id": "a", "batch": 8}
    refused = []

    def second(done, total):
        with pytest.raises(
            EmbeddingError, match="in use by another process .pid"
        ) as error:
            embed_to_file(*(model, folder, tmp_path / "e.h5"), **how, shard=Shard(1, 2))
        refused.append(error.value)
        with pytest.raises(EmbeddingError, match="in use by another process .pid"):
            embed_to_file(model, folder, tmp_path / "e.h5", **how)  # the join
        embed_to_file(*(model, folder, tmp_path / "e.h5"), **how, shard=Shard(2, 2))

    embed_to_file(
        *(model, folder, tmp_path / "e.h5"), **how, shard=Shard(1, 2), progress=second
    )
    assert refused
    assert embed_to_file(model, folder, tmp_path / "e.h5", **how).rows == 18


def test_a_file_whose_name_has_255_bytes(model, folder, tmp_path):
    out = tmp_path / f"{'e' * 252}.h5"
    assert len(os.fsencode(out.name)) == 255
    assert embed_to_file(model, folder, out, model_id="a", batch=8).rows
    assert out.is_file()


def test_a_finished_file_is_left_alone(model, folder, tmp_path):
    path = tmp_path / "e.h5"
    first = embed_to_file(model, folder, path, model_id="a", batch=8)
    begun = path.stat().st_mtime_ns
    (tmp_path / "e.h5.partial").mkdir()  # killed before its last step
    again = embed_to_file(model, folder, path, model_id="a", batch=8)
    assert again == dataclasses.replace(first, kept=20)
    assert path.stat().st_mtime_ns == begun
    assert not (tmp_path / "e.h5.partial").exists()


@pytest.mark.parametrize("finished", [False, True])
@pytest.mark.parametrize("change", ["model", "pool", "input"])
def test_something_else_is_refused_unless_told(
    model, folder, tmp_path, change, finished
):
    path = tmp_path / "e.h5"
    stop = None if finished else interrupt(8)
    how = {"model_id": "a", "batch": 8}
    if finished:
        embed_to_file(model, folder, path, **how)
    else:
        with pytest.raises(KeyboardInterrupt):
            embed_to_file(model, folder, path, **how, progress=stop)
    if change == "input":
        os.utime(folder.root / folder.paths[0], ns=(1, 1))
        folder = ImageFolder(folder.root)
    else:
        how |= {"model_id": "b"} if change == "model" else {"pool": "cls_mean"}
    with pytest.raises(EmbeddingError, match=f"with {change} '.*--overwrite"):
        embed_to_file(model, folder, path, **how)
    assert embed_to_file(model, folder, path, **how, overwrite=True).kept == 0
    identity = contents(path)[1]["identity"]
    assert identity["model"] == how["model_id"]
    assert identity["pool"] == how.get("pool", "cls")


def test_a_file_of_another_program_is_not_replaced_unless_told(model, folder, tmp_path):
    path = tmp_path / "e.h5"
    path.write_bytes(b"mine")
    with pytest.raises(EmbeddingError, match="no embedding file"):
        embed_to_file(model, folder, path, model_id="a")
    assert path.read_bytes() == b"mine"
    embed_to_file(model, folder, path, model_id="a", batch=8, overwrite=True)
    assert len(contents(path)[0]["features"]) == 18


def test_no_image_that_can_be_read_is_an_error(model, tmp_path):
    (tmp_path / "a.png").write_bytes(b"x")
    with pytest.raises(EmbeddingError, match=r"none of the 1 images .* a\.png: "):
        embed_to_file(
            model, ImageFolder(tmp_path), tmp_path / "e.h5", model_id="a", batch=8
        )
    assert [entry.name for entry in tmp_path.iterdir()] == ["a.png"]


def test_a_damaged_model_is_told_with_the_first_tile(model, folder, tiny_study):
    params = jax.tree.map(lambda leaf: leaf * np.nan, model.params)
    damaged = Model(params, model.vit, model.meta)
    with pytest.raises(EmbeddingError, match="first tile P00a0: the model is damaged"):
        embed_tiles(damaged, tiny_study, batch=8)
    path = folder.root.parent / "e.h5"
    with pytest.raises(EmbeddingError, match="not finite"):
        embed_to_file(damaged, folder, path, model_id="a", batch=8)
    assert not path.exists()
    with pytest.raises(
        EmbeddingError, match="expected a batch of at least 1 tile, got 0"
    ):
        embed_tiles(model, tiny_study, batch=0)


def test_the_command(model, folder, tiny_study, tmp_path, capsys):
    save_model(tmp_path / "run", model)
    words = ["embed", str(tmp_path / "run"), str(folder.root), "--batch=8"]
    out = str(tmp_path / "e.h5")
    assert main([*words, "--out", out, "--pool", "cls_mean"]) == 0
    text = capsys.readouterr().out
    assert "e.h5: 18 x 48" in text
    assert text.count("skipped s") == 2 and f"skipped {folder.paths[3]}: " in text
    assert main([*words, "--out", out, "--pool", "cls_mean", "--strict"]) == 1
    capsys.readouterr()
    assert main([*words, "--out", out]) == 1
    assert "pool 'cls_mean', now 'cls'" in capsys.readouterr().err
    assert main([*words, "--out", out, "--overwrite"]) == 0
    words[2] = str(tiny_study.root)
    out = str(tmp_path / "study.h5")
    assert main([*words, "--out", out]) == 0
    found = read_embeddings(tmp_path / "study.h5", tiny_study)
    close(found.features, embed_tiles(model, tiny_study, batch=8))
    assert found.meta["audit"] == []
    assert main([*words, "--out", out]) == 0
    assert "72 of 72 tiles by an earlier run" in capsys.readouterr().out


def test_the_command_by_shards(model, tiny_study, tmp_path, capsys):
    save_model(tmp_path / "run", model)
    out = tmp_path / "e.h5"
    words = ["embed", str(tmp_path / "run"), str(tiny_study.root), "--batch=8"]
    words += ["--out", str(out)]
    assert main([*words, "--shard", "2/2"]) == 0
    assert f"{out}, shard 2/2: 40 x 24\n" in capsys.readouterr().out
    assert main([*words, "--shard", "3/2"]) == 1
    assert "--shard 3/2: expected K/N" in capsys.readouterr().err
    together = ["--coordinator=h:1", "--processes=2", "--process=0"]
    assert main([*words, *together, "--shard", "1/2"]) == 1
    assert "by themselves: leave out --shard" in capsys.readouterr().err
    for more in (["--shard", "1/2"], together):
        assert main([*words[:-1], "gs://bucket/e.h5", *more]) == 1
        assert "expected a local path here" in capsys.readouterr().err
    assert main(words) == 1
    assert "lacks 1 of 2 shards of 72 tiles: 1/2. Run" in capsys.readouterr().err
    assert main([*words, "--shard", "1/2"]) == main(words) == 0
    capsys.readouterr()
    assert main([*words, "--shard", "1/2"]) == 0
    assert f"{out}: 72 x 24, 72 of 72 tiles by an" in capsys.readouterr().out


def test_a_shard_cut_off_anywhere_goes_on_and_loses_nothing(model, folder, tmp_path):
    """What a kill leaves: both files of a shard end somewhere, the rows later or not."""
    how, out = {"model_id": "a", "batch": 4}, tmp_path / "e.h5"
    once = tmp_path / "once.h5"
    embed_to_file(model, folder, once, **how)
    rng = np.random.default_rng(0)
    for _ in range(4):
        for k in (1, 2):
            embed_to_file(model, folder, out, **how, shard=Shard(k, 2))
        for name in ("journal.jsonl", "rows.f32"):
            path = tmp_path / "e.h5.partial" / "shard-2-of-2" / name
            os.truncate(path, rng.integers(path.stat().st_size))
        with pytest.raises(EmbeddingError, match="lacks 1 of 2 shards .* 2/2"):
            embed_to_file(model, folder, out, **how)
        embed_to_file(model, folder, out, **how, shard=Shard(2, 2))
        embed_to_file(model, folder, out, **how)
        assert out.read_bytes() == once.read_bytes()
        out.unlink()


@pytest.fixture
def started(tmp_path):
    """start(out, *words): the command on 400 images, as a process of its own."""
    save_model(tmp_path / "run", made(vit_config("Mi/8", image_px=64), image_px=64))
    (tmp_path / "images").mkdir()
    rng = np.random.default_rng(0)
    for i in range(400):
        pixels = rng.integers(0, 256, (50, 50, 3), np.uint8)
        Image.fromarray(pixels).save(tmp_path / "images" / f"{i:03d}.png")
    environment = os.environ | {"JAX_COMPILATION_CACHE_DIR": str(tmp_path / "cache")}

    def start(out, *more):
        words = ["embed", "run", "images", "--out", out, "--batch", "8", *more]
        return subprocess.Popen(
            [sys.executable, "-m", "pathjax", *words],
            cwd=tmp_path,
            env=environment,
            start_new_session=True,
        )

    return start


def kill_after(process, journal, lines):
    """SIGKILL once the journal has more lines, or the process has ended by itself."""
    deadline = time.monotonic() + 300
    while time.monotonic() < deadline and process.poll() is None:
        if journal.exists() and journal.read_bytes().count(b"\n") > lines:
            os.killpg(process.pid, signal.SIGKILL)
            break
        time.sleep(0.002)
    return process.wait(60) == -signal.SIGKILL


@pytest.mark.slow
def test_a_real_kill(started, tmp_path):
    """SIGKILL at some moments; the end is the same, bit for bit."""
    assert started("once.h5").wait(300) == 0
    journal = tmp_path / "often.h5.partial" / "journal.jsonl"
    for lines in (2, 17, 34):
        assert kill_after(started("often.h5"), journal, lines)
        assert journal.exists() and not (tmp_path / "often.h5").exists()
    assert started("often.h5").wait(300) == 0
    once, often = tmp_path / "once.h5", tmp_path / "often.h5"
    assert often.read_bytes() == once.read_bytes()


@pytest.mark.slow
def test_shards_killed_twenty_times(started, tmp_path):
    """Each of two shards, at random: nothing is lost, nothing is there twice."""
    assert started("once.h5").wait(300) == 0
    rng, kills, lines = np.random.default_rng(0), 0, {1: 0, 2: 0}
    while kills < 20:
        k = int(rng.integers(1, 3))
        journal = tmp_path / "often.h5.partial" / f"shard-{k}-of-2" / "journal.jsonl"
        lines[k] = min(24, lines[k] + int(rng.integers(0, 3)))
        kills += kill_after(started("often.h5", f"--shard={k}/2"), journal, lines[k])
    for k in (1, 2):
        assert started("often.h5", f"--shard={k}/2").wait(300) == 0
    assert started("often.h5").wait(300) == 0
    once, often = tmp_path / "once.h5", tmp_path / "often.h5"
    assert often.read_bytes() == once.read_bytes()
