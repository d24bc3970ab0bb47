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
# # Quickstart
#
# Does teaching a pathology model the transcriptome make it better? On a **synthetic** cohort, in minutes: a small
# vision model is pre-trained, then fine-tuned with gene expression, and the same probes measure it before and after.

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


# %% [markdown]
# ## A study
#
# A study is a directory: tiles, samples with targets, expression, reports, splits by patient. This one is synthetic;
# nothing learned from it applies to patients.

# %%
size = "--patients 64 --tiles 3" if SMOKE else "--patients 320 --tiles 6"
smoke = ",smoke" if SMOKE else ""
pathjax(f"data demo --out {RUNS}/study {size}")

# %%
pathjax(f"data show {RUNS}/study --sheet {RUNS}/tiles.png")
show(f"{RUNS}/tiles.png")

# %% [markdown]
# ## A base model, and the same model tuned on expression
#
# The base sees images only (DINO). Fine-tuning pulls the image of a patient and the patient's expression together
# (contrastive). Run a cell again after an interruption: it resumes where it stopped.

# %%
pathjax(
    f"train --config=configs/demo.py:pretrain{smoke} --workdir={RUNS}/base "
    f"--config.study={RUNS}/study"
)

# %%
pathjax(
    f"train --config=configs/demo.py:contrastive{smoke} --workdir={RUNS}/contrastive "
    f"--config.study={RUNS}/study --config.init={RUNS}/base"
)

# %% [markdown]
# ## Compare them
#
# Probes on patients that neither training run saw. An overlap would be an error.

# %%
pathjax(
    f"evaluate base={RUNS}/base contrastive:base@0={RUNS}/contrastive "
    f"--tasks=demo --study={RUNS}/study --out={RUNS}/quickstart"
)
pathjax(f"report {RUNS}/quickstart")
show(f"{RUNS}/quickstart/report/table.md")
show(f"{RUNS}/quickstart/report/deltas.png")

# %% [markdown]
# One seed, and differences within the intervals: not enough for a claim. `pathjax demo --full` does the same with three
# seeds and both objectives; the next notebook starts from a public model.
