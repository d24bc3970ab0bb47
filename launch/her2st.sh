#!/usr/bin/env bash
# The whole experiment on her2st: base, regression and contrastive fine-tuning of
# patient C's sections C2 to C4, several seeds, tested on C5 (new section) and B4 (new
# patient), next to a hand-crafted baseline of colour and texture; ends with the table.
#
#   launch/her2st.sh STUDY OUT [TISSUE]
#
# STUDY   from `pathjax data her2st`
# OUT     run folder; run the same line again to resume after an interruption
# TISSUE  from `pathjax data her2st-tissue`; default STUDY-tissue
#
# SEEDS (default "0 1 2") names the fine-tuning seeds; VARIANT (default none) is added to
# each config, such as VARIANT=,smoke.
set -euo pipefail

if [ $# -lt 2 ] || [ $# -gt 3 ]; then
  echo "usage: $0 STUDY OUT [TISSUE]" >&2
  exit 2
fi
study=$1
out=$2
tissue=${3:-$1-tissue}
seeds=${SEEDS:-0 1 2}
variant=${VARIANT:-}

for needed in "$study" "$tissue"; do
  if [ ! -f "$needed/study.json" ]; then
    echo "$needed is not a study: build it with \`pathjax data her2st --source DIR --out $study\`" \
      "and \`pathjax data her2st-tissue --source DIR --out $tissue\`" >&2
    exit 1
  fi
done

pathjax train --config="configs/her2st.py:pretrain$variant" --workdir="$out/base" \
  --config.study="$tissue"
models=("handcrafted=handcrafted" "base=$out/base")
for seed in $seeds; do
  for mode in regression contrastive; do
    pathjax train --config="configs/her2st.py:$mode$variant" \
      --workdir="$out/$mode-$seed" --config.study="$study" \
      --config.init="$out/base" --config.seed="$seed"
    models+=("$mode:base@$seed=$out/$mode-$seed")
  done
done
pathjax evaluate "${models[@]}" --tasks=her2st --study="$study" --out="$out"
pathjax report "$out"
