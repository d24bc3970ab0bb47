#!/usr/bin/env bash
# Checks in under three minutes that pathjax works on this GPU: JAX finds it, a small
# contrastive run in bfloat16 trains, and the encoder's output equals the CPU's.
#
#   launch/gpu_smoke.sh [--install] [--out=DIR] [--cpu] [--dry-run]
#
# --install  create an environment in DIR/env from this checkout with pathjax[cuda];
#            without it, use `pathjax` and `python` of the PATH
# --out      default: a new temporary folder
# --cpu      the same on the CPU only, to check the script itself
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
install='' out='' cpu='' dry=''
while [ $# -gt 0 ]; do
  case $1 in
    --install) install=yes ;;
    --out=*) out=${1#*=} ;;
    --cpu) cpu=yes ;;
    --dry-run) dry=yes ;;
    *)
      sed -n '2,/^set /{/^set /d;s/^# \{0,1\}//;p}' "${BASH_SOURCE[0]}" >&2
      exit 2
      ;;
  esac
  shift
done
out=${out:-$(mktemp -d)}
device=cuda steps=30
[ -z "$cpu" ] || device=cpu steps=10

# Runs a command, or prints it.
run() {
  if [ -n "$dry" ]; then
    printf '%q ' "$@"
    echo
  else
    "$@"
  fi
}

say() { echo "== ${SECONDS} s: $*"; }

on() { # PLATFORM COMMAND...
  local platform=$1
  shift
  run env "JAX_PLATFORMS=$platform" "$@"
}

if [ -n "$install" ]; then
  extra="[cuda]"
  [ -z "$cpu" ] || extra=
  say "environment"
  run python3 -m venv "$out/env"
  run "$out/env/bin/pip" install -q "$here/..${extra}"
  export PATH="$out/env/bin:$PATH"
fi

say "devices"
if [ -z "$cpu" ]; then
  run nvidia-smi --query-gpu=name,memory.total,driver_version --format=csv,noheader
fi
on "$device" python -c '
import sys

import jax

print(f"jax {jax.__version__}:", *jax.devices())
if jax.default_backend() != sys.argv[1]:
    sys.exit(f"expected {sys.argv[1]}, JAX uses {jax.default_backend()}")
' "${device/cuda/gpu}"

say "study, and training in bfloat16"
run pathjax data demo --out "$out/study" --patients 64 --tiles 3
on "$device" pathjax train --config=configs/demo.py:contrastive,smoke \
  "--workdir=$out/run" "--config.study=$out/study" --config.model.dtype=bfloat16 \
  "--config.optim.steps=$steps" --config.eval.every=10 --config.checkpoint.every=10

say "encoder on this device and on the CPU, float32"
for where in "$device" cpu; do
  # TensorFloat-32 is for training; what is compared is the arithmetic.
  on "$where" env JAX_DEFAULT_MATMUL_PRECISION=highest \
    pathjax embed "$out/run" "$out/study" --out "$out/$where.h5" --overwrite
  [ "$device" != cpu ] || break
done
run python - "$out/run" "$out/$device.h5" "$out/cpu.h5" <<'PYTHON'
"""The loss fell or at least is finite, embeddings agree, and images per second."""

import json
import sys

import h5py
import numpy as np

run, this_device, cpu = sys.argv[1:]
with open(f"{run}/metrics.jsonl", encoding="utf-8") as file:
    rows = [json.loads(line) for line in file]
losses = [row["train/loss"] for row in rows if "train/loss" in row]
if not losses or not np.isfinite(losses).all():
    sys.exit(f"losses {losses} in {run}/metrics.jsonl")
here, there = (h5py.File(path)["features"][:] for path in (this_device, cpu))
gap = float(np.abs(here - there).max() / np.abs(there).max())
print(f"losses {losses[0]:.3f} to {losses[-1]:.3f}")
print(f"embeddings {here.shape}: largest difference {gap:.1e} of the largest value")
if not gap < 1e-4:
    sys.exit("the encoder's output on this device differs from the CPU's")
PYTHON

say "images per second of a training step in bfloat16 (ViT-S/16, 224 px; on the CPU Ti/16)"
on "$device" python - "$device" <<'PYTHON'
"""The benchmark's own step: contrastive, AdamW, host batches; data made up once."""

import sys
import time

from pathjax.bench.step import Step

small = sys.argv[1] == "cpu"
step = Step(
    {
        "variant": "Ti/16" if small else "S/16",
        "image_px": 224,
        "gelu": "exact",
        "dtype": "bfloat16",
        "attention": "auto",
        "genes": 2000,
        "layers": 4,
        "width": 512,
        "embed_dim": 128,
        "batch": 4 if small else 256,
        "threads": 0,
    }
)
count = 2 if small else 30
begun = time.perf_counter()
images = step.run(count)
rate = images / (time.perf_counter() - begun)
print(
    f"{rate:.1f} images/s on {step.info['device']}, "
    f"{rate * step.info['flops_per_image'] / 1e12:.2f} TFLOP/s, "
    f"compiled in {step.info['compile_seconds']:.0f} s"
)
PYTHON

say "passed; results in $out"
