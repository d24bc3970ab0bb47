#!/usr/bin/env bash
# Mutations from RNA in nine of TCGA's cohorts: all genes that 30 or more of a cohort's
# patients have mutated (docs/results.md).
#
#   launch/mutations.sh DATA OUT
#
# DATA  PORPOISE's tables, tcga_*_all_clean.csv.zip
# OUT   folder; run the same line again to resume after an interruption. The cohorts'
#       RNA is shared with launch/survival.sh
#
# COHORTS (default all) says which.
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
  [ -f "$out/mutations-$cohort/screen.json" ] ||
    pathjax modalities --rna "$out/$cohort.h5ad" --labels "$table" --mutations 30 \
      --targets 'mutation:*' --min-patients 30 --screen --out "$out/mutations-$cohort"
done
# shellcheck disable=SC2086
python "$here/mutation_tables.py" "$out" $cohorts
