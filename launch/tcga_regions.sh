#!/usr/bin/env bash
# The whole TCGA pipeline on regions of 30 slides (MoNuSeg) with bulk RNA and labels: tiles,
# RNA, pairing, a base, regression and contrastive fine-tuning, and the table.
#
#   launch/tcga_regions.sh DATA OUT
#
# DATA  holds monuseg/ (JPEG regions at 0.25 um/px whose names are slide barcodes),
#       tcga_bulk/ (PORPOISE's tables) and tcga_slide_labels/ (tables of labels)
# OUT   run folder; run the same line again to resume after an interruption
#
# SEEDS (default "0 1") names the fine-tuning seeds; VARIANT (default none) is added to
# each config, such as VARIANT=,smoke. Regions come from diagnostic and frozen sections,
# and seven of the 30 patients have no RNA: they are kept for their labels.
set -euo pipefail

if [ $# -ne 2 ]; then
  echo "usage: $0 DATA OUT" >&2
  exit 2
fi
data=$(cd "$1" && pwd)
out=$2
seeds=${SEEDS:-0 1}
variant=${VARIANT:-}
config=configs/tcga_regions.py
mkdir -p "$out"

# The images do not state their scale.
{
  echo path,mpp
  find "$data/monuseg" -name 'TCGA-*.jpg' | sort | sed 's/$/,0.25/'
} > "$out/regions.csv"
pathjax tile --slides "$out/regions.csv" --out "$out/tiles" --mpp 0.5 --tile-px 224 \
  --workers 1
pathjax data tcga-rna --source "$data/tcga_bulk" --out "$out/rna.h5ad"
pathjax data tcga --slides "$out/tiles" --rna "$out/rna.h5ad" \
  --labels "$data"/tcga_slide_labels/*.csv* "$data"/tcga_bulk/*.csv* \
  --frozen --keep-unpaired --no-site-preserved --out "$out/study"
pathjax data check "$out/study"

pathjax train --config="$config:pretrain$variant" --workdir="$out/base" \
  --config.study="$out/study"
models=("handcrafted=handcrafted" "base=$out/base")
for seed in $seeds; do
  for mode in regression contrastive; do
    pathjax train --config="$config:$mode$variant" --workdir="$out/$mode-$seed" \
      --config.study="$out/study" --config.init="$out/base" --config.seed="$seed"
    models+=("$mode:base@$seed=$out/$mode-$seed")
  done
done

# Held-out patients: each is tested once, by a probe fitted on the others.
cat > "$out/tasks.json" <<'JSON'
[
  {"name": "cancer type", "study": "tcga", "target": "cancer_type",
   "kind": "classification", "split": "probe_cv", "fit": null, "test": "*",
   "classes": ["BRCA", "KIRP", "PRAD"]},
  {"name": "TP53", "study": "tcga", "target": "tp53", "kind": "classification",
   "split": "probe_cv", "fit": null, "test": "*"},
  {"name": "expression", "study": "tcga", "target": null, "kind": "expression",
   "split": "probe_cv", "fit": null, "test": "*", "genes": 100,
   "protocol": "tcga-expression-pan/1"}
]
JSON
pathjax evaluate "${models[@]}" --tasks "$out/tasks.json" --study "$out/study" \
  --out "$out/held-out"
pathjax report "$out/held-out"

# All patients, by models that were trained on none of them.
pathjax evaluate handcrafted=handcrafted --tasks tcga-regions --study "$out/study" \
  --out "$out/everyone"
pathjax report "$out/everyone"
