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
# Two objectives, one base, the same probes: the table, its intervals, and the page.

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
# ## Three models
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
    f"train --config=configs/demo.py:contrastive{smoke} --workdir={RUNS}/contrastive "
    f"--config.study={RUNS}/study --config.init={RUNS}/base"
)

# %%
pathjax(
    f"train --config=configs/demo.py:regression{smoke} --workdir={RUNS}/regression "
    f"--config.study={RUNS}/study --config.init={RUNS}/base"
)

# %% [markdown]
# ## First the audit
#
# It compares the training patients with the test patients of each task. Any status other than clean is an error.

# %%
pathjax(
    f"audit --models {RUNS}/contrastive {RUNS}/regression "
    f"--tasks demo --study {RUNS}/study"
)

# %% [markdown]
# ## Then the table
#
# Models are given as `NAME:BASE@SEED=PATH`; more seeds give narrower intervals. The table is made from result files only.

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
# ## Output files
#
# `index.html` is the same as one page: sortable, offline, with provenance. The results contain every prediction, so the
# table can be made again at any time.

# %%
import json

entries = json.loads(Path(f"{RUNS}/table/results.json").read_text())["entries"]
print(len(entries), "entries; the first:")
shown = ("model", "task", "metric", "value", "protocol", "audit")
print({key: entries[0][key] for key in shown if key in entries[0]})
print(sorted(path.name for path in Path(f"{RUNS}/table/report").iterdir()))
