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
# # Report text, and which modality predicts what
#
# Reports become vectors; then slide, RNA and text, alone and together, predict every target.

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
# ## A study and a model of its tiles
#
# The notebooks share `runs/notebooks` and reuse what is in it; each can be run first.

# %%
size = "--patients 64 --tiles 3" if SMOKE else "--patients 320 --tiles 6"
smoke = ",smoke" if SMOKE else ""
pathjax(f"data demo --out {RUNS}/study {size}")

# %%
pathjax(
    f"train --config=configs/demo.py:pretrain{smoke} --workdir={RUNS}/base "
    f"--config.study={RUNS}/study"
)

# %% [markdown]
# ## Reports to vectors
#
# TF-IDF sends nothing and needs no download. It is fitted on the patients of one fold, so its vocabulary contains no words of
# the others. docs/text.md describes `--backend minilm` and `--backend openai`; the latter **sends the reports to a service**.
# These reports are synthetic.

# %%
from pathjax.data.study import Study

study = Study(f"{RUNS}/study")
print(study.reports()["text"].iloc[0])
pathjax(
    f"text embed {RUNS}/study --backend tfidf --fit-on cohort:finetune "
    f"--out {RUNS}/text.h5"
)
pathjax(f"text show {RUNS}/text.h5")

# %% [markdown]
# ## t-SNE of the reports
#
# Distances in a t-SNE plot prove nothing; the figure also states how often nearest neighbours in the full space share a class.

# %%
pathjax(
    f"figure tsne {RUNS}/study --of {RUNS}/text.h5 --by cancer_type "
    f"--out {RUNS}/tsne.png"
)
show(f"{RUNS}/tsne.png")

# %% [markdown]
# ## Modalities and targets
#
# Cross-validated by patient; each cell has an interval, its chance level and n.

# %%
pathjax(f"embed {RUNS}/base {RUNS}/study --out {RUNS}/base.h5")
targets = "--targets cancer_type --alone" if SMOKE else ""
pathjax(
    f"modalities {RUNS}/study --slide {RUNS}/base.h5 --text {RUNS}/text.h5 "
    f"--out {RUNS}/modalities {targets}"
)
for picture in sorted(Path(f"{RUNS}/modalities").glob("*.png")):
    show(picture)
