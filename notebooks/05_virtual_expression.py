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
# # Expression from images alone
#
# A model tuned on expression predicts it for patients whose RNA it never saw. **Research only**: the map of a gene that
# cannot be predicted looks as sharp as one that can, so measured values are shown next to it.

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
# ## A model that regresses expression
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

# %%
pathjax(
    f"train --config=configs/demo.py:regression{smoke} --workdir={RUNS}/regression "
    f"--config.study={RUNS}/study --config.init={RUNS}/base"
)

# %% [markdown]
# ## Predict and compare with measurements
#
# No training run saw the fold `probe_test`. `genes.csv` states how well each gene is predicted.

# %%
pathjax(
    f"predict {RUNS}/regression {RUNS}/study --split cohort --fold probe_test "
    f"--measured --out {RUNS}/predicted --overwrite"
)

# %%
import pandas as pd

genes = pd.read_csv(f"{RUNS}/predicted/genes.csv")
display(genes.head(8))

# %% [markdown]
# ## Maps
#
# The genes named here are drawn over each slide. Slides of the demo have only a few tiles; docs/predict.md shows maps of
# her2st.

# %%
chosen = ",".join(genes.iloc[:, 0].astype(str).head(2))
pathjax(
    f"predict {RUNS}/regression {RUNS}/study --split cohort --fold probe_test "
    f"--genes {chosen} --max-maps 2 --out {RUNS}/maps --overwrite"
)
for picture in sorted(Path(f"{RUNS}/maps").rglob("*.png"))[:2]:
    show(picture)

# %% [markdown]
# ## AnnData
#
# `predicted.h5ad` opens in scanpy and squidpy and contains the units of its numbers.

# %%
import anndata

predicted = anndata.read_h5ad(f"{RUNS}/predicted/predicted.h5ad")
print(predicted)
print(dict(predicted.uns["pathjax"]).keys())
