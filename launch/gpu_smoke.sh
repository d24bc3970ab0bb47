#!/usr/bin/env bash
# Examines this GPU: numerics against the CPU, speed and memory of training and embedding,
# as one JSON file and one page (`pathjax bench accelerator`). Status 1: something failed.
#
#   launch/gpu_smoke.sh [--install] [--out=DIR] [--cpu] [--dry-run] [-- --config.NAME=VALUE ...]
#
# --install  create an environment in DIR/env from this checkout with pathjax[cuda];
#            without it, use `pathjax` and `python` of the PATH
# --out      default: a new temporary folder; DIR/accelerator.json and .md are written
# --cpu      tiny sizes on the CPU only, to check the script itself
# after --   options of the benchmark, such as --config.models=L/16 --config.batch=128
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
install='' out='' cpu='' dry=''
while [ $# -gt 0 ]; do
  case $1 in
    --install) install=yes ;;
    --out=*) out=${1#*=} ;;
    --cpu) cpu=yes ;;
    --dry-run) dry=yes ;;
    --)
      shift
      break
      ;;
    *)
      sed -n '2,/^set /{/^set /d;s/^# \{0,1\}//;p}' "${BASH_SOURCE[0]}" >&2
      exit 2
      ;;
  esac
  shift
done
out=${out:-$(mktemp -d)}
platform=cuda sizes=()
if [ -n "$cpu" ]; then
  platform=cpu
  sizes=(--config.models=Xs/8 --config.check=Xs/8 --config.image_px=16 --config.tile_px=32
    --config.tiles=40 --config.batch=2 --config.most=4 --config.count=2 --config.genes=12
    --config.matrix=256)
fi

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
run env "JAX_PLATFORMS=$platform" python -c '
import sys

import jax

print(f"jax {jax.__version__}:", *jax.devices())
if jax.default_backend() != sys.argv[1]:
    sys.exit(f"expected {sys.argv[1]}, JAX uses {jax.default_backend()}")
' "${platform/cuda/gpu}"

say "numerics, speed and memory"
run mkdir -p "$out"
run env "JAX_PLATFORMS=$platform" pathjax bench accelerator \
  --out "$out/accelerator.json" ${sizes[@]+"${sizes[@]}"} "$@"

say "passed; results in $out"
