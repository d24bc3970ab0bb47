#!/usr/bin/env bash
# Overall survival from RNA in nine of TCGA's cohorts, within each and over all of them,
# beside age and cancer type (docs/results.md).
#
#   launch/survival.sh DATA OUT
#
# DATA  PORPOISE's tables, tcga_*_all_clean.csv.zip
# OUT   folder; run the same line again to resume after an interruption
#
# COHORTS (default all) says which, PAN= (empty) leaves the question over all of them out.
# With PEER=1 the same folds are also fitted by scikit-survival (pip install 'pathjax[parity]').
set -euo pipefail

if [ $# -ne 2 ]; then
  echo "usage: $0 DATA OUT" >&2
  exit 2
fi
data=$(cd "$1" && pwd)
here=$(cd "$(dirname "$0")" && pwd)
mkdir -p "$2"
out=$(cd "$2" && pwd)
cohorts=${COHORTS:-kirc kirp luad lusc blca stad coadread brca gbmlgg}

for cohort in $cohorts; do
  table=$data/tcga_${cohort}_all_clean.csv.zip
  [ -f "$out/$cohort.h5ad" ] || pathjax data tcga-rna --source "$table" --out "$out/$cohort.h5ad"
  pathjax modalities --rna "$out/$cohort.h5ad" --labels "$table" --targets os --baselines \
    --out "$out/os-$cohort"
done
if [ -n "${PAN-yes}" ]; then
  [ -f "$out/all.h5ad" ] || pathjax data tcga-rna --source "$data" --out "$out/all.h5ad"
  pathjax modalities --rna "$out/all.h5ad" --labels "$data"/tcga_*_all_clean.csv.zip --targets os \
    --baselines --alone --out "$out/os-all"
fi
# shellcheck disable=SC2086
python "$here/survival_tables.py" "$data" "$out" $cohorts ${PEER:+--peer}
