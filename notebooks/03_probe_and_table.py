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
# # Probes and the table
#
# Two ways of teaching expression, one base, the same probes: the table, its intervals, and the page.

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


# %% [markdown]
# ## Three models
#
# What is there already is not made again: the notebooks share `runs/notebooks`, and each can be the first.

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
    f"train --config=configs/demo.py:contrastive{smoke} --workdir={RUNS}/contrastive "
    f"--config.study={RUNS}/study --config.init={RUNS}/base"
)

# %%
pathjax(
    f"train --config=configs/demo.py:regression{smoke} --workdir={RUNS}/regression "
    f"--config.study={RUNS}/study --config.init={RUNS}/base"
)

# %% [markdown]
# ## First: may it be asked?
#
# Patients of training against the test patients of each task. A status other than clean ends with an error.

# %%
pathjax(
    f"audit --models {RUNS}/contrastive {RUNS}/regression "
    f"--tasks demo --study {RUNS}/study"
)

# %% [markdown]
# ## Then the table
#
# `NAME:BASE@SEED=PATH`; more seeds give narrower intervals. Results are files, and the table is made of them alone.

# %%
pathjax(
    f"evaluate base={RUNS}/base contrastive:base@0={RUNS}/contrastive "
    f"regression:base@0={RUNS}/regression "
    f"--tasks=demo --study={RUNS}/study --out={RUNS}/table"
)
pathjax(f"report {RUNS}/table --html")
show(f"{RUNS}/table/report/table.md")

# %%
for name in ("table", "deltas"):
    show(f"{RUNS}/table/report/{name}.png")

# %% [markdown]
# ## What was written
#
# `index.html` is the same as one page: sortable, offline, with provenance. The results hold each prediction, so that
# a table can be made again years later.

# %%
import json

entries = json.loads(Path(f"{RUNS}/table/results.json").read_text())["entries"]
print(len(entries), "entries; one of them:")
shown = ("model", "task", "metric", "value", "protocol", "audit")
print({key: entries[0][key] for key in shown if key in entries[0]})
print(sorted(path.name for path in Path(f"{RUNS}/table/report").iterdir()))
