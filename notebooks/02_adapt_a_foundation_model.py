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
# A model of the list is imported, adapted to expression with low-rank adapters, probed, and exported for timm.

# %%
# Installs pathjax where it is missing, and says what it runs on.
import importlib.util
import os
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

# The checkout this notebook lies in. Elsewhere, as on Colab, the address of the
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

# Seconds in place of minutes, with models too small to learn anything; for tests.
SMOKE = "PATHJAX_SMOKE" in os.environ
RUNS = Path("runs/notebooks")


def pathjax(command: str) -> None:
    """Runs a line as a terminal does, but here: a TPU belongs to one process alone."""
    print("$ pathjax", command)
    if main(shlex.split(command)):
        raise RuntimeError("it failed: the reason is above")


def show(path: str | Path) -> None:
    """Shows a picture or a table."""
    table = Path(path).suffix == ".md"
    display(Markdown(Path(path).read_text()) if table else Image(str(path)))


# %%
pathjax("models kaiko-vits16")

# %% [markdown]
# ## Weights
#
# Put the path of the published file here. Without one the weights are **drawn at random**, which shows the way and
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
# The model wants tiles of 224 px, so the demo's study is drawn at that size; tiles of 64 px would be refused, for the
# model would see another magnification.

# %%
smoke = ",smoke" if SMOKE else ""
size = "--patients 64 --tiles 1" if SMOKE else "--patients 320 --tiles 4"
pathjax(f"data demo --out {RUNS}/study224 {size} --tile-px 224 --mpp 0.5")

# %% [markdown]
# ## LoRA
#
# The encoder is frozen; adapters of rank 8 in its blocks are trained, and merged into it at the end.

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
# Patients of the fold `probe_fit` fit the probes, those of `probe_test` score them; a list of tasks of one's own
# is in docs/add-a-task.md.

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
# ## Out again
#
# The folder opens with `timm.create_model("local-dir:...", pretrained=True)`. Its card says what the model was trained on.

# %%
if not Path(f"{RUNS}/kaiko-lora-timm").exists():
    pathjax(f"export {RUNS}/kaiko-lora --format timm --out {RUNS}/kaiko-lora-timm")
print(sorted(path.name for path in Path(f"{RUNS}/kaiko-lora-timm").iterdir()))
