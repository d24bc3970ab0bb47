# ---
# jupyter:
#   jupytext:
#     formats: ipynb,py:percent
#     text_representation:
#       extension: .py
#       format_name: percent
#       format_version: '1.3'
#       jupytext_version: 1.19.6
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # Adapt a public foundation model
#
# Import a public model, adapt it to expression with low-rank adapters, probe it, and export it for timm.

# %%
# Install pathjax if it is missing, and print the device.
import importlib.util
import os
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

# The checkout that contains this notebook. On Colab, set PATHJAX_SOURCE to the
# repository: git+https://...
SOURCE = os.environ.get("PATHJAX_SOURCE", "..")
if importlib.util.find_spec("pathjax") is None:
    gpu, tpu = shutil.which("nvidia-smi"), any(Path("/dev").glob("accel*"))
    device = ",cuda" if gpu else ",tpu" if tpu or "TPU_NAME" in os.environ else ""
    extras = f"[text,figures{device}]"
    what = f"pathjax{extras} @ {SOURCE}" if "://" in SOURCE else f"{SOURCE}{extras}"
    subprocess.run([sys.executable, "-m", "pip", "install", "-q", what], check=True)

from pathjax.cli import main, prepare_environment

prepare_environment()
import jax
from IPython.display import Image, Markdown, display

print(f"{len(jax.devices())} x {jax.devices()[0].device_kind}, JAX {jax.__version__}")

# For tests: seconds instead of minutes, with models too small to learn anything.
SMOKE = "PATHJAX_SMOKE" in os.environ
RUNS = Path("runs/notebooks")


def pathjax(command: str) -> None:
    """Runs a command line in this process: only one process can use a TPU."""
    print("$ pathjax", command)
    if main(shlex.split(command)):
        raise RuntimeError("the command failed; see the error above")


def show(path: str | Path) -> None:
    """Shows a picture or a table."""
    table = Path(path).suffix == ".md"
    display(Markdown(Path(path).read_text()) if table else Image(str(path)))


# %%
pathjax("models dinov2-vits14")

# %% [markdown]
# ## Weights
#
# DINOv2 ViT-S/14, as `facebook/dinov2-small` has it: set `DINOV2_SMALL` to the path of its `model.safetensors`, or have it
# in `PATHJAX_TEST_DATA` as `weights/dinov2-small.safetensors`. Without it the weights are **random**, which shows the
# steps and nothing else.

# %%
import numpy as np
from safetensors.numpy import save_file

from pathjax import zoo
from pathjax.models.vit import ViT
from pathjax.zoo.convert import to_state

data = Path(os.environ.get("PATHJAX_TEST_DATA", "../../shared/data"))
given = os.environ.get("DINOV2_SMALL")
weights = Path(given or data / "weights/dinov2-small.safetensors")
REAL = weights.is_file()
if given and not REAL:
    raise FileNotFoundError(f"DINOV2_SMALL={given} is no file")
if not REAL:
    print(f"SKIPPED: real weights, because there is no {weights}. They are random now.")
    vit = zoo.get("dinov2-vits14").vit
    image = np.zeros((1, 14, 14, 3), np.float32)
    params = ViT(vit).init(jax.random.key(0), image)["params"]
    RUNS.mkdir(parents=True, exist_ok=True)
    weights = RUNS / "random-vits14.safetensors"
    save_file(to_state(jax.device_get(params), vit, "timm"), weights)
BASE = RUNS / ("dinov2" if REAL else "random")
if not (BASE / "model.safetensors").exists():
    pathjax(f"import dinov2-vits14 --weights {weights} --image-px 224 --out {BASE}")

# %% [markdown]
# ## A study to adapt it to
#
# The model was imported for tiles of 224 px, so the demo study is made at that size. Tiles of 64 px would be refused,
# because the model would see another magnification. The same on real tissue is `launch/real.sh` (docs/results.md).

# %%
smoke = ",smoke" if SMOKE else ""
size = "--patients 64 --tiles 1" if SMOKE else "--patients 320 --tiles 4"
pathjax(f"data demo --out {RUNS}/study224 {size} --tile-px 224 --mpp 0.5")

# %% [markdown]
# ## LoRA
#
# The encoder is frozen. Adapters of rank 8 in its blocks are trained and merged into it at the end.

# %%
pathjax(
    f"train --config=configs/adapt.py:contrastive,adapt=lora{smoke} "
    f"--workdir={BASE}-lora --config.init={BASE} "
    f"--config.study={RUNS}/study224 --config.split=cohort --config.fold=finetune "
    f"--config.data.tiles=1 --config.data.genes={50 if SMOKE else 200} "
    f"--config.data.batch={8 if SMOKE else 32} --config.optim.steps={4 if SMOKE else 100}"
)

# %% [markdown]
# ## Before and after
#
# Probes are fitted on the patients of fold `probe_fit` and scored on those of `probe_test`. docs/extend/task.md describes
# the task file.

# %%
import json

tasks = [
    {
        "name": target,
        "study": "demo",
        "target": target,
        "kind": "classification",
        "split": "cohort",
        "fit": "probe_fit",
        "test": "probe_test",
    }
    for target in (["cancer_type"] if SMOKE else ["cancer_type", "subtype"])
]
Path(f"{RUNS}/tasks.json").write_text(json.dumps(tasks))
pathjax(
    f"evaluate base={BASE} lora:base@0={BASE}-lora "
    f"--tasks={RUNS}/tasks.json --study={RUNS}/study224 --out={BASE}-adapted"
)
pathjax(f"report {BASE}-adapted")
show(f"{BASE}-adapted/report/table.md")

# %% [markdown]
# ## Export
#
# The folder opens with `timm.create_model("local-dir:...", pretrained=True)`. Its model card states the training data.

# %%
if not Path(f"{BASE}-lora-timm").exists():
    pathjax(f"export {BASE}-lora --format timm --out {BASE}-lora-timm")
print(sorted(path.name for path in Path(f"{BASE}-lora-timm").iterdir()))
