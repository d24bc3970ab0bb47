#!/usr/bin/env bash
# A published foundation model (DINOv2-S) on real tissue: imported, tuned on her2st's
# sections C2 to C4 with both objectives, and measured on what it should learn (expression,
# clusters and retrieval on a new section and a new patient) and on what it may forget.
#
#   launch/real.sh DATA OUT
#
# DATA  holds weights/dinov2-small.safetensors (facebook/dinov2-small), her2st/, idc_patches/,
#       monuseg/, tcga_slide_labels/, mob_mouse/ and spatial_formats/hest_xenium_lung/
# OUT   run folder; run the same line again to resume after an interruption
#
# SEEDS (default "0 1 2"), MODES (default "contrastive regression") and ADAPT (default "lora
# last") say what is trained, STEPS (default 100) and BATCH (default 64) how long. A mode may
# also be joint, and end in -anchor, or in -shuffled for the control with shuffled pairs.
# SOUPS=yes averages what both objectives tuned by LoRA.
# OUT/times.tsv has the seconds of each training, of its last call. NCT-CRC's nine tiles, one
# per class, measure nothing and are left out. Hyper-parameters were chosen on section C4
# after training on C2 and C3 (docs/results.md).
set -euo pipefail

if [ $# -ne 2 ]; then
  echo "usage: $0 DATA OUT" >&2
  exit 2
fi
data=$(cd "$1" && pwd)
here=$(cd "$(dirname "$0")" && pwd)
mkdir -p "$2"
out=$(cd "$2" && pwd)
px=112
um=200 # the field of a tile: the spots' pitch
mpp=1.7857142857142858 # um / px

[ -f "$out/base/model.safetensors" ] || pathjax import dinov2-vits14 \
  --weights "$data/weights/dinov2-small.safetensors" --image-px $px --out "$out/base"
python "$here/real_tables.py" "$data" "$out"

pathjax data her2st --source "$data/her2st" --out "$out/her2st" --tile-px $px --tile-um $um
pathjax data images --source "$out/tables/idc.csv" --out "$out/idc" --name idc \
  --targets tissue pixel_x:number pixel_y:number source_mpp:number --fold fold \
  --tile-px $px --mpp $mpp
pathjax data images --source "$out/tables/organ.csv" --out "$out/organ" --name organ \
  --targets organ --fold fold --tile-px $px --mpp $mpp

for set in mob lung; do # building a study again would drop the splits of real_tables.py
  [ -f "$out/$set/study.json" ] || pathjax data spatial --name $set \
    --manifest "$out/tables/$set.csv" --out "$out/$set" --tile-px $px --tile-um $um
done
python "$here/real_tables.py" "$data" "$out" --splits

# Our own base: a small ViT from random weights, by DINO on the tissue of C2 to C4.
[ -f "$out/tissue/study.json" ] ||
  pathjax data her2st-tissue --source "$data/her2st" --out "$out/tissue"
pathjax train --config=configs/her2st.py:pretrain --workdir="$out/dino" \
  --config.study="$out/tissue"

models=("handcrafted=handcrafted" "pixels=pixels" "random=$out/random" "dino=$out/dino"
  "base=$out/base")
for mode in ${MODES:-contrastive regression}; do
  for adapt in ${ADAPT:-lora last}; do
    for seed in ${SEEDS:-0 1 2}; do
      run=$out/$mode-$adapt-$seed
      finished=
      [ ! -f "$run/model.safetensors" ] || finished=yes
      started=$(date +%s)
      more=()
      case $mode in
        *-anchor) more=(--config.anchor.weight=1) ;;
        *-shuffled) more=(--config.data.pairing=shuffled) ;;
      esac
      pathjax train --config="configs/adapt.py:${mode%-*},adapt=$adapt,bf16" \
        --workdir="$run" --config.init="$out/base" --config.study="$out/her2st" \
        --config.split=c_sections --config.seed="$seed" --config.data.image_px=$px \
        --config.data.batch="${BATCH:-64}" --config.data.genes=200 \
        --config.data.pair_by=sample_id --config.data.stain=0.0 \
        --config.optim.steps="${STEPS:-100}" --config.optim.warmup=10 \
        --config.optim.lr=5e-4 "${more[@]}"
      [ -n "$finished" ] ||
        printf '%s-%s\t%s\t%s\n' "$mode" "$adapt" "$seed" $(($(date +%s) - started)) \
          >> "$out/times.tsv"
      # `evaluate` names a control by itself.
      models+=("${mode%-shuffled}-$adapt:base@$seed=$run")
    done
  done
done
if [ -n "${SOUPS:-}" ]; then
  for seed in ${SEEDS:-0 1 2}; do
    pathjax blend "$out/base" "$out/contrastive-lora-$seed" "$out/regression-lora-$seed" \
      --alpha 0.5:1:0.5 --out "$out/soup-$seed"
    for alpha in 0.5 1; do
      models+=("soup-$alpha:base@$seed=$out/soup-$seed/alpha-$alpha")
    done
  done
fi

pathjax evaluate "${models[@]}" --tasks her2st "$here/real_tasks.json" \
  --study "$out/her2st" "$out/idc" "$out/organ" "$out/mob" "$out/lung" --out "$out/results"
pathjax report "$out/results"
