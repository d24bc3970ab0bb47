#!/usr/bin/env bash
# Trains on Cloud TPU VMs: plans, creates the pod, installs, trains on all its workers,
# shows the log, recreates the pod after a preemption, and deletes it at the end.
#
#   launch/tpu_pod.sh NAME --zone=ZONE --target=v5e:4x4 [--share=HOST:/EXPORT | --disk=DISK]
#       [options] -- --config=FILE.py:ARG --workdir=WHERE [--config.KEY=VALUE ...]
#
# WHERE is gs://BUCKET/RUN or s3://BUCKET/RUN, or /mnt/pathjax/RUN with --share or --disk.
#
# --target   as for `pathjax plan`: v4, v5e, v5p or v6e, and the shape in chips
# --share    NFS export, such as Filestore's, mounted at /mnt/pathjax on all workers
# --disk     persistent disk, mounted there instead; for pods of one VM only
# --data     gs://BUCKET/STUDY to copy to ~/study on each worker's own disk
# --queued   use a queued resource: wait for chips
# --spot     cheaper, but may be preempted at any time
# --service-account=EMAIL  --network=NAME  --runtime=VERSION  --wheel=FILE
# --max-restarts=N  after preemptions, default 50
# --skip-plan  --keep (delete nothing)  --dry-run (print what would run)
#
# The same line resumes: if the pod is already training, it only shows the log. Ctrl-C
# leaves the pod running. Training that exits with 75 was preempted and is restarted, and so
# is one of which a process was killed (137) if it has a newer checkpoint than when it was
# started; any other error ends this script with that code. $POLL: seconds between checks.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
poll=${POLL:-30}
# docs/reliability.md: stopped after saving; stopped before there was anything to save.
# A process that was killed, as when memory ran out, stops the others, which end with 75.
PREEMPTED=75 TERMINATED=143 KILLED=137

usage() {
  sed -n '2,/^set /{/^set /d;s/^# \{0,1\}//;p}' "${BASH_SOURCE[0]}" >&2
  [ $# -eq 0 ] || echo "$0: $*" >&2
  exit 2
}

say() { echo "== $*" >&2; }

name='' zone='' target='' share='' disk='' data='' account='' network='' runtime='' wheel=''
queued='' spot='' keep='' dry='' plan=yes most=50
while [ $# -gt 0 ]; do
  case $1 in
    --zone=*) zone=${1#*=} ;;
    --target=*) target=${1#*=} ;;
    --share=*) share=${1#*=} ;;
    --disk=*) disk=${1#*=} ;;
    --data=*) data=${1#*=} ;;
    --service-account=*) account=${1#*=} ;;
    --network=*) network=${1#*=} ;;
    --runtime=*) runtime=${1#*=} ;;
    --wheel=*) wheel=${1#*=} ;;
    --max-restarts=*) most=${1#*=} ;;
    --queued) queued=yes ;;
    --spot) spot=yes ;;
    --keep) keep=yes ;;
    --skip-plan) plan='' ;;
    --dry-run) dry=yes ;;
    --)
      shift
      break
      ;;
    -*) usage "unknown option $1" ;;
    *)
      [ -z "$name" ] || usage "one NAME, not $name and $1"
      name=$1
      ;;
  esac
  shift
done
train=("$@")
config=() workdir=''
for word in "${train[@]}"; do
  case $word in
    --config=* | --config.*) config+=("$word") ;;
    --workdir=*) workdir=${word#*=} ;;
  esac
done

[ -n "$name" ] && [ -n "$zone" ] && [ -n "$target" ] ||
  usage "wanted NAME, --zone and --target"
[ ${#config[@]} -gt 0 ] && [ -n "$workdir" ] || usage "after -- wanted --config= and --workdir="
if [ -n "$share" ] && [ -n "$disk" ]; then
  usage "wanted --share or --disk, not both"
fi
case $workdir in
  gs://?*/?* | s3://?*/?*) ;;
  /mnt/pathjax/*)
    [ -n "$share$disk" ] || usage "wanted --share or --disk: checkpoints must outlive the pod"
    ;;
  *) usage "--workdir=$workdir is lost with the pod; use gs://BUCKET/RUN or /mnt/pathjax/RUN" ;;
esac

# The target's chips, and its name in the Cloud TPU API.
kind=${target%%:*} shape=${target#*:}
chips=1
IFS=x read -ra sides <<<"$shape"
for side in "${sides[@]}"; do
  [[ $side =~ ^[1-9][0-9]*$ ]] || usage "--target=$target: wanted KIND:AxB or KIND:AxBxC"
  chips=$((chips * side))
done
case $kind in
  v5e) accelerator=("--accelerator-type=v5litepod-$chips") image=v2-alpha-tpuv5-lite one=8 ;;
  v6e) accelerator=("--accelerator-type=v6e-$chips") image=v2-alpha-tpuv6e one=8 ;;
  v5p) accelerator=(--type=v5p "--topology=$shape") image=v2-alpha-tpuv5 one=4 ;;
  v4) accelerator=(--type=v4 "--topology=$shape") image=tpu-ubuntu2204-base one=4 ;;
  *) usage "--target=$target: wanted v4, v5e, v5p or v6e (TPU7x is on GKE only: launch/gke)" ;;
esac
runtime=${runtime:-$image}
if [ -n "$disk" ] && [ "$chips" -gt "$one" ]; then
  usage "--disk: only one VM can write to a disk, and $target has several; use --share"
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

tpus() { run gcloud compute tpus "$@" "--zone=$zone" --quiet; }

remote() { tpus tpu-vm ssh "$name" "--worker=$1" "--command=$2"; }

worker() { # WORKERS VERB WORDS...: tpu_worker.sh there
  local which=$1 words
  shift
  words=$(printf '%q ' "$@")
  remote "$which" "bash tpu_worker.sh ${words% }"
}

# absent, waiting, ready, gone or failed. An error other than "not found" ends this
# script: a pod whose state is unknown may exist and be billed.
state() {
  local what=tpu-vm field=state answer errors
  if [ -n "$queued" ]; then
    what=queued-resources field=state.state
  fi
  errors=$(mktemp)
  if ! answer=$(gcloud compute tpus "$what" describe "$name" "--zone=$zone" \
    "--format=value($field)" 2>"$errors"); then
    if grep -qiE 'NOT_FOUND|not found' "$errors"; then
      rm -f "$errors"
      echo absent
      return
    fi
    cat "$errors" >&2
    rm -f "$errors"
    return 1
  fi
  rm -f "$errors"
  case $answer in
    READY) echo ready ;;
    ACTIVE)
      # The queued resource stays ACTIVE for a while after its node is gone.
      answer=$(gcloud compute tpus tpu-vm describe "$name" "--zone=$zone" \
        "--format=value(state)" 2>/dev/null || echo absent)
      case $answer in
        READY) echo ready ;;
        CREATING | STARTING | RESTARTING | REPAIRING | REIMAGING) echo waiting ;;
        *) echo gone ;;
      esac
      ;;
    CREATING | STARTING | RESTARTING | REPAIRING | REIMAGING) echo waiting ;;
    ACCEPTED | WAITING_FOR_RESOURCES | PROVISIONING) echo waiting ;;
    FAILED) echo failed ;;
    *) echo gone ;;
  esac
}

create() {
  local words=("${accelerator[@]}")
  [ -z "$spot" ] || words+=(--spot)
  [ -z "$account" ] || words+=("--service-account=$account")
  [ -z "$network" ] || words+=("--network=$network")
  [ -z "$disk" ] || words+=("--data-disk=source=$disk,mode=read-write")
  if [ -n "$queued" ]; then
    tpus queued-resources create "$name" "--node-id=$name" \
      "--runtime-version=$runtime" "${words[@]}"
  else
    tpus tpu-vm create "$name" "--version=$runtime" "${words[@]}"
  fi
}

delete() {
  if [ -n "$queued" ]; then
    tpus queued-resources delete "$name" --force
  else
    tpus tpu-vm delete "$name"
  fi
}

ensure_pod() {
  local now
  while :; do
    now=$(state) || return 1
    case $now in
      ready) return ;;
      absent)
        say "creating $name ($target)"
        create
        ;;
      gone)
        say "$name was preempted; deleting what is left"
        delete
        ;;
      failed)
        say "the request for $name failed (quota, zone or capacity):"
        gcloud compute tpus queued-resources describe "$name" "--zone=$zone" >&2 || true
        return 1
        ;;
    esac
    [ "$now" = gone ] || sleep "$poll"
  done
}

prepare() {
  local words=()
  [ -z "$share" ] || words=(share "$share")
  [ -z "$disk" ] || words=(disk)
  local tries=0
  # A new VM takes a while until it answers.
  until tpus tpu-vm scp "$here/tpu_worker.sh" "$wheel" "$name:" --worker=all; do
    tries=$((tries + 1))
    [ "$tries" -lt 5 ] || return 1
    sleep "$poll"
  done
  worker all install "$(basename "$wheel")" "${words[@]}"
  if [ -n "$data" ]; then
    worker all data "$data" study
  fi
}

# The newest complete checkpoint, as the first worker sees it.
newest() { worker 0 newest "$workdir" 2>/dev/null | grep -xE '[0-9]+|None' || echo unknown; }

start() {
  started_from=$(newest)
  worker all start "${train[@]}"
}

# One of: running, done, killed, preempted, error N, unreachable.
outcome() {
  local lines codes
  lines=$(worker all status 2>/dev/null | grep -E '^(running|exit [0-9]+|lost|none)$') || {
    echo unreachable
    return
  }
  codes=$(sed -n 's/^exit //p' <<<"$lines")
  if grep -q '^running$' <<<"$lines"; then
    echo running
  elif grep -qx "$KILLED" <<<"$codes"; then
    echo killed
  elif grep -qxE "$PREEMPTED|$TERMINATED" <<<"$codes" || grep -qE '^(lost|none)$' <<<"$lines"; then
    echo preempted
  elif grep -qvx 0 <<<"$codes"; then
    echo "error $(grep -vx 0 <<<"$codes" | head -n 1)"
  else
    echo "done"
  fi
}

finish() { # CODE
  if [ -n "$keep" ]; then
    say "kept, and billed until you delete it:"
    dry=yes
    delete >&2
  else
    say "deleting $name"
    delete
  fi
  exit "$1"
}

if [ -n "$plan" ]; then
  say "plan"
  run pathjax plan "${config[@]}" "--target=$target"
fi
if [ -z "$wheel" ]; then
  [ -f "$here/../setup.py" ] || usage "not in a checkout: give --wheel=FILE"
  dist=$(mktemp -d)
  run python3 -m pip wheel -q --no-deps -w "$dist" "$here/.."
  wheel=$(find "$dist" -name '*.whl')
  wheel=${wheel:-$dist/pathjax.whl}
fi

if [ -n "$dry" ]; then
  create
  prepare
  worker all start "${train[@]}"
  worker 0 follow
  worker all status
  [ -n "$keep" ] || delete
  exit 0
fi

trap 'say "left running; run the same line to see its log again"; exit 130' INT
restarts=0 silent=0 started_from=unknown
ensure_pod
now=$(outcome)
if [ "$now" != running ]; then
  prepare
  start
fi
while :; do
  worker 0 follow || true
  now=$(outcome)
  # Processes that lost another of a pod that is being taken away end with an error of
  # their own, which may be there before the pod's new state is.
  [[ $now != error* && $now != killed ]] || sleep "$poll"
  pod=$(state) || pod=unknown
  if [ "$now" != "done" ]; then
    case $pod in
      ready) ;;
      unknown) now=unreachable ;;
      *) now=preempted ;;
    esac
  fi
  if [ "$now" = killed ]; then
    case $(newest) in
      "$started_from" | unknown)
        say "a process was killed before there was a new checkpoint (newest:" \
          "$started_from): it would be killed again"
        now="error $KILLED"
        ;;
      *) now=preempted ;;
    esac
  fi
  case $now in
    done)
      say "done"
      finish 0
      ;;
    running) sleep "$poll" ;;
    unreachable)
      silent=$((silent + 1))
      if [ "$silent" -gt 20 ]; then
        say "$name exists but does not respond; nothing was deleted"
        exit 1
      fi
      sleep "$poll"
      continue
      ;;
    preempted)
      restarts=$((restarts + 1))
      if [ "$restarts" -gt "$most" ]; then
        say "stopped or killed more than $most times"
        finish "$PREEMPTED"
      fi
      say "stopped or killed ($restarts of at most $most); resuming"
      ensure_pod
      prepare
      start
      ;;
    error*)
      say "training failed with ${now#error }; its log is above"
      finish "${now#error }"
      ;;
  esac
  silent=0
done
