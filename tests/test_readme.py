"""Every command in the README runs; the demo itself is in test_readme_demo.py."""

import gzip
import itertools
import os
import re
import shutil
from pathlib import Path

import numpy as np
import pytest
from readme_blocks import README, REPOSITORY, bash, block_with, blocks
from safetensors.numpy import load_file

from pathjax import zoo
from pathjax.zoo.convert import from_state, to_state


def test_the_readme_opens_with_the_two_commands():
    """CI and the people who run these tests have used the second; the first is below."""
    first, second = blocks()[:2]
    assert first.strip() == "pip install -e . && pathjax demo"
    assert second.strip() == "pip install -e '.[test]' && pytest"
    for image in re.findall(r"!\[.*?\]\((.*?)\)", README):
        assert (REPOSITORY / image).is_file()
    for link in re.findall(r"\]\((docs/[^)]*)\)", README):
        assert (REPOSITORY / link).exists()


@pytest.mark.slow
def test_step_by_step(tmp_path):
    out = bash(block_with("pathjax embed tuned"), tmp_path, 600)
    assert "results/report/table.md" in out
    assert "mean delta" in out
    bash("pathjax report results --html", tmp_path, 300)
    assert (tmp_path / "results" / "report" / "index.html").is_file()
    # "In the folder of the steps above."
    page = (REPOSITORY / "docs" / "blend.md").read_text(encoding="utf-8")
    bash(block_with("pathjax blend", page), tmp_path, 600)
    assert (tmp_path / "blend-results" / "report" / "frontier.png").is_file()
    bash(block_with("--backend tfidf"), tmp_path, 900)
    for name in ("modalities/heatmap.png", "reports.png", "predicted/predicted.h5ad"):
        assert (tmp_path / name).is_file()


@pytest.mark.slow
def test_a_plan(tmp_path):
    out = bash(block_with("pathjax plan"), tmp_path, 300)
    assert "peak" in out and "all-reduce" in out


@pytest.mark.slow
def test_the_poster(tmp_path):
    out = bash(
        f"pathjax report {REPOSITORY}/docs/data/poster.csv --out poster", tmp_path, 120
    )
    assert "0.5" in out and "0.8" in out


@pytest.mark.slow
def test_with_real_data(tmp_path, real_data):
    """The her2st block, with the models shrunk by the script's own variable."""
    (tmp_path / "her2st").symlink_to(real_data / "her2st")
    (tmp_path / "launch").symlink_to(REPOSITORY / "launch")
    script = block_with("launch/her2st.sh her2st-study")
    out = bash(script, tmp_path, 1200, VARIANT=",smoke", SEEDS="0")
    assert "0 problems" in out
    table = (tmp_path / "runs" / "her2st" / "report" / "table.md").read_text()
    assert "handcrafted" in table and "expression C5" in table


def few_spots(source: Path, out: Path, spots: int = 12) -> None:
    """her2st with the first spots of each section's counts; all else as it is."""
    shutil.copytree(source, out, symlinks=False, copy_function=os.symlink)
    for path in (out / "data" / "ST-cnts").iterdir():
        with gzip.open(path, "rt") as file:
            lines = list(itertools.islice(file, spots + 1))
        path.unlink()
        with gzip.open(path, "wt") as file:
            file.writelines(lines)


@pytest.mark.slow
def test_with_a_public_model(tmp_path, real_data):
    """The block of imports and exports: real tissue, real weights, few steps."""
    few_spots(real_data / "her2st", tmp_path / "her2st")
    weights = real_data / "weights" / "dinov2-small.safetensors"
    if not weights.is_file():
        pytest.skip(f"no published weights at {weights}")
    (tmp_path / "dinov2-small").mkdir()
    (tmp_path / "dinov2-small" / "model.safetensors").symlink_to(weights)
    script = block_with("pathjax import dinov2-vits14")
    script = script.replace("contrastive,adapt=lora", "contrastive,adapt=lora,smoke")
    out = bash(script, tmp_path, 1200)
    assert "images of 224 px, positions 37 x 37, tensor names of hf_dinov2" in out
    assert "expression C5" in out
    entry = zoo.get("dinov2-vits14")
    params = from_state(load_file(weights), entry.vit).params
    state = to_state(params, entry.vit, "timm")
    exported = load_file(tmp_path / "dinov2-lora-timm" / "model.safetensors")
    assert exported.keys() == state.keys()
    moved = {name for name in state if not np.array_equal(state[name], exported[name])}
    assert "blocks.11.attn.qkv.weight" in moved and "pos_embed" not in moved


def few_places(source: Path, out: Path, reach: float = 7) -> None:
    """The olfactory bulb with the spots in the middle of its tissue."""
    shutil.copytree(source, out, symlinks=False, copy_function=os.symlink)
    for path in out.glob("alignment_table_*"):
        header, *rows = path.read_text().splitlines()
        fields = [row.split("\t") for row in rows]
        places = np.array([row[:2] for row in fields if row[-1] == "1"], float)
        low, high = np.median(places, axis=0) - reach, np.median(places, axis=0) + reach
        kept = [
            "\t".join(row)
            for row in fields
            if (low <= np.array(row[:2], float)).all()
            and (np.array(row[:2], float) <= high).all()
        ]
        path.unlink()
        path.write_text("\n".join([header, *kept]) + "\n")


@pytest.mark.slow
def test_spatial_formats_from_folder_to_table(tmp_path, real_data):
    """Real spots and real weights, few steps."""
    weights = real_data / "weights" / "dinov2-small.safetensors"
    if not weights.is_file():
        pytest.skip(f"no published weights at {weights}")
    few_places(real_data / "mob_mouse", tmp_path / "mob_mouse")
    lung = real_data / "spatial_formats" / "hest_xenium_lung"
    (tmp_path / "hest_xenium_lung").symlink_to(lung)
    bash(
        f"pathjax import dinov2-vits14 --weights {weights} --image-px 56 --out dinov2",
        tmp_path,
        300,
    )
    script = block_with("pathjax data spatial mob_mouse")
    script = script.replace("adapt=lora", "adapt=lora,smoke")
    script = script.replace("--config.init", "--config.data.image_px=56 --config.init")
    script = re.sub(r"(--tile-um \d+)", r"\1 --tile-px 56", script)
    out = bash(script, tmp_path, 1200)
    assert "0 problems" in out and "bulb expression" in out
    assert "lung" in (tmp_path / "spots-results" / "report" / "table.md").read_text()
