# ---
# jupyter:
#   jupytext:
#     formats: ipynb,py:percent
#     text_representation:
#       extension: .py
#       format_name: percent
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
pathjax("models kaiko-vits16")

# %% [markdown]
# ## Weights
#
# Set `KAIKO_VITS16` to the path of the published file. Without it the weights are **random**, which shows the steps and
# nothing else.

# %%
import numpy as np
from safetensors.numpy import save_file

from pathjax import zoo
from pathjax.models.vit import ViT
from pathjax.zoo.convert import to_state

weights = os.environ.get("KAIKO_VITS16", "")
if not weights:
    vit = zoo.get("kaiko-vits16").vit
    image = np.zeros((1, 16, 16, 3), np.float32)
    params = ViT(vit).init(jax.random.key(0), image)["params"]
    RUNS.mkdir(parents=True, exist_ok=True)
    weights = f"{RUNS}/random-vits16.safetensors"
    save_file(to_state(jax.device_get(params), vit, "timm"), weights)
if not Path(f"{RUNS}/kaiko/model.safetensors").exists():
    pathjax(f"import kaiko-vits16 --weights {weights} --out {RUNS}/kaiko")

# %% [markdown]
# ## A study to adapt it to
#
# The model expects tiles of 224 px, so the demo study is made at that size. Tiles of 64 px would be refused, because the
# model would see another magnification.

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
    f"--workdir={RUNS}/kaiko-lora --config.init={RUNS}/kaiko "
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
    f"evaluate base={RUNS}/kaiko lora:base@0={RUNS}/kaiko-lora "
    f"--tasks={RUNS}/tasks.json --study={RUNS}/study224 --out={RUNS}/adapted"
)
pathjax(f"report {RUNS}/adapted")
show(f"{RUNS}/adapted/report/table.md")

# %% [markdown]
# ## Export
#
# The folder opens with `timm.create_model("local-dir:...", pretrained=True)`. Its model card states the training data.

# %%
if not Path(f"{RUNS}/kaiko-lora-timm").exists():
    pathjax(f"export {RUNS}/kaiko-lora --format timm --out {RUNS}/kaiko-lora-timm")
print(sorted(path.name for path in Path(f"{RUNS}/kaiko-lora-timm").iterdir()))
