#!/usr/bin/env bash
# Runs one stage as an array job of a Slurm cluster, a shard per job, then the join.
#
#   bash launch/array_slurm.sh --shards=16 [--sbatch=WORD ...] [--join=WORD ...] [--dry-run] \
#       -- embed MODEL STUDY --out FILE.h5 [...]
#
# --shards   number of jobs
# --sbatch   one more argument for sbatch, for the shards: --sbatch=--gpus=1
# --join     the same, for the join: --join=--mem=8G
#
# After -- stands a command of pathjax that takes --shard: embed, evaluate, predict, tile
# or text embed. Files must have the same path on all nodes. The environment is that of
# the shell it is submitted from. Preempted jobs are requeued, and so are killed ones (status
# 137, as when memory runs out), at most five times in all; after another failure or a time
# limit the same line submits all again, and what is done ends at once.
set -euo pipefail

usage() {
  echo "$0: $*" >&2
  sed -n '2,/^set/{/^set/d;s/^# \{0,1\}//;p}' "$0" >&2
  exit 2
}

# Runs sbatch and prints the number of the job, or prints the call.
submit() {
  if [ -n "$dry" ]; then
    printf '%q ' sbatch "$@" >&2
    echo >&2
    echo JOB
  else
    sbatch --parsable "$@" | cut -d ';' -f 1
  fi
}

shards='' dry='' words=() join=()
while [ $# -gt 0 ]; do
  case $1 in
    --shards=*) shards=${1#*=} ;;
    --sbatch=*) words+=("${1#*=}") ;;
    --join=*) join+=("${1#*=}") ;;
    --dry-run) dry=yes ;;
    --)
      shift
      break
      ;;
    *) usage "unknown option $1" ;;
  esac
  shift
done
[[ $shards =~ ^[1-9][0-9]*$ ]] || usage "--shards=$shards: expected a whole number from 1"
case "${1:-} ${2:-}" in
  "embed "* | "evaluate "* | "predict "* | "tile "* | "text embed") ;;
  *) usage "after -- expected embed, evaluate, predict, tile or text embed" ;;
esac
for word in "$@"; do
  case $word in --shard | --shard=*) usage "--shard is set here" ;; esac
done

line=$(printf '%q ' pathjax "$@")
# In the job: what was done before it was killed is kept, and the rest is done again.
# shellcheck disable=SC2016  # the job's shell expands these
again='[ $code = 137 ] && [ "${SLURM_RESTART_COUNT:-0}" -lt 5 ] && scontrol requeue $SLURM_JOB_ID'
array=$(submit "--array=1-$shards" --requeue --open-mode=append "--job-name=pathjax-$1" \
  "--output=pathjax-$1-%A_%a.log" "${words[@]}" \
  "--wrap=$line--shard \$SLURM_ARRAY_TASK_ID/$shards || { code=\$?; $again || exit \$code; }")
# Only when every shard has ended well; else the join is cancelled, not left in the queue.
joined=$(submit "--dependency=afterok:$array" --kill-on-invalid-dep=yes --requeue \
  "--job-name=pathjax-$1-join" "--output=pathjax-$1-%j.log" "${join[@]}" "--wrap=$line")
[ -n "$dry" ] || echo "submitted $array, $shards shards, and $joined, the join"
