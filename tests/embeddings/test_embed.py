"""Embedding a study and a folder: right, whatever is broken, and gone on with exactly."""

import dataclasses
import json
import os

import h5py
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from embedded import embed_tiles, interrupt, made
from PIL import Image

from pathjax.cli import main
from pathjax.data.images import decode_tile
from pathjax.data.preprocess import Preprocess
from pathjax.data.tile_source import ImageFolder, StudyTiles
from pathjax.data.transforms import centre_crop
from pathjax.embeddings.embed import at_image_px, embed_to_file
from pathjax.embeddings.embedding_file import EmbeddingError, read_embeddings
from pathjax.models.model_file import Model, save_model
from pathjax.models.vit import ViT


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


def contents(path):
    with h5py.File(path) as file:
        found = {name: file[name][()] for name in file}
        found |= {f"{name}@": dict(file[name].attrs) for name in file}
        return found, json.loads(file.attrs["pathjax"])


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
