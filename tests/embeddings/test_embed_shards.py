"""Embedding by shards, and what a kill leaves: the end is one process's, bit for bit."""

import os
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
from embedded import interrupt, made
from PIL import Image

from pathjax.cli import main
from pathjax.data.tile_source import StudyTiles
from pathjax.embeddings.embed import embed_to_file
from pathjax.embeddings.embedding_file import EmbeddingError
from pathjax.models.model_file import save_model
from pathjax.models.vit import vit_config
from pathjax.parallel.shard import Shard


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
