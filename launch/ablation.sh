#!/usr/bin/env bash
# Recipes of fine-tuning against each other on the demo's synthetic cohort: objectives,
# an anchor to the base, LoRA, the mean of the weights that several objectives tuned, and
# contrast of three times as many steps, alone, with an anchor (and shuffled pairs as its
# control) and blended with the base.
#
#   launch/ablation.sh OUT
#
# OUT/dev has the table by which a recipe is chosen, on the patients that validated the
# training (suite demo-dev); OUT/test the same rows on the test patients. Run the same line
# again to resume. SEEDS (default "0 1 2"); SIZE=smoke is a minimal run whose numbers mean
# nothing. docs/recipes.md has what it gave.
set -euo pipefail

if [ $# -ne 1 ]; then
  echo "usage: $0 OUT" >&2
  exit 2
fi
mkdir -p "$1"
out=$(cd "$1" && pwd)
flag=
patients=640
tiles=6
if [ "${SIZE:-full}" = smoke ]; then
  flag=,smoke
  patients=64
  tiles=3
fi

train() { # mode, workdir, flags
  pathjax train --config="configs/demo.py:$1$flag" --workdir="$2" \
    --config.study="$out/study" "${@:3}"
}

pathjax data demo --out "$out/study" --patients $patients --tiles $tiles
train pretrain "$out/base"
models=("base=$out/base")
for seed in ${SEEDS:-0 1 2}; do
  tune() { # row, mode, flags
    train "$2" "$out/$1-$seed" --config.init="$out/base" --config.seed="$seed" "${@:3}"
    models+=("$1:base@$seed=$out/$1-$seed")
  }
  tune contrastive contrastive
  tune regression regression
  tune joint joint
  tune contrastive-lora contrastive --config.adapt.mode=lora
  tune contrastive-anchor contrastive --config.anchor.weight=1
  tune joint-anchor joint --config.anchor.weight=1
  tune contrastive-long contrastive --config.optim.steps=420 --config.optim.warmup=42
  anchored=(--config.optim.steps=420 --config.optim.warmup=42 --config.anchor.weight=1)
  tune contrastive-long-anchor contrastive "${anchored[@]}"
  # The control; `evaluate` adds "(shuffled pairs)" to the name of the row.
  shuffled=$out/contrastive-long-anchor-shuffled-$seed
  train contrastive "$shuffled" --config.init="$out/base" --config.seed="$seed" \
    "${anchored[@]}" --config.data.pairing=shuffled
  models+=("contrastive-long-anchor:base@$seed=$shuffled")
  pathjax blend "$out/base" "$out/contrastive-$seed" "$out/regression-$seed" \
    "$out/joint-$seed" --alpha 0.5:1:0.25 --out "$out/soup-$seed"
  for alpha in 0.5 0.75 1; do
    models+=("soup-$alpha:base@$seed=$out/soup-$seed/alpha-$alpha")
  done
  pathjax blend "$out/base" "$out/contrastive-long-$seed" --alpha 0.5:0.75:0.25 \
    --out "$out/long-blend-$seed"
  for alpha in 0.5 0.75; do
    models+=("long-$alpha:base@$seed=$out/long-blend-$seed/alpha-$alpha")
  done
done

for suite in demo-dev demo; do
  results=$out/test
  [ $suite = demo ] || results=$out/dev
  pathjax evaluate "${models[@]}" --tasks $suite --study "$out/study" --seeds 1 \
    --out "$results"
  pathjax report "$results"
done
