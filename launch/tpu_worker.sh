#!/usr/bin/env bash
# Runs on each TPU VM of a pod; `tpu_pod.sh` copies it there and calls it over ssh.
#
#   tpu_worker.sh install WHEEL [share HOST:/EXPORT | disk]   environment and /mnt/pathjax
#   tpu_worker.sh data gs://BUCKET/STUDY FOLDER               a copy on the VM's own disk
#   tpu_worker.sh start WORDS...     `pathjax train WORDS --multihost`, detached
#   tpu_worker.sh status             running, exit N, lost (ended without a status) or none
#   tpu_worker.sh newest WORKDIR     step of its newest complete checkpoint, or None
#   tpu_worker.sh follow             this worker's log until training ends
#
# Training survives a lost connection. At a preemption the VM's init system sends
# SIGTERM, and pathjax saves.
set -euo pipefail

run=$HOME/pathjax-run
mount_point=${PATHJAX_MOUNT:-/mnt/pathjax}

alive() {
  [ -f "$run/pid" ] && kill -0 "$(cat "$run/pid")" 2>/dev/null
}

status() {
  if [ -f "$run/exit" ]; then
    echo "exit $(cat "$run/exit")"
  elif alive; then
    echo running
  elif [ -f "$run/pid" ]; then
    echo lost
  else
    echo none
  fi
}

mount_share() {
  sudo mkdir -p "$mount_point"
  mountpoint -q "$mount_point" && return
  if [ "$1" = share ]; then
    sudo apt-get -qq update
    sudo apt-get -qq install -y nfs-common
    # hard: a server that is away for a while makes writes wait, not fail.
    sudo mount -t nfs -o hard,rw "$2" "$mount_point"
  else
    local device=/dev/disk/by-id/google-persistent-disk-1
    # Formatted the first time only: a disk with a file system keeps what it holds.
    sudo blkid "$device" >/dev/null || sudo mkfs.ext4 -q "$device"
    sudo mount -o discard "$device" "$mount_point"
  fi
  sudo chown "$(id -u):$(id -g)" "$mount_point"
}

install() {
  local wheel=$1
  shift
  # The VM's own Python is older than pathjax takes: uv brings one.
  python3 -m pip install --user -q uv
  local uv=$HOME/.local/bin/uv
  [ -x "$run/env/bin/python" ] || "$uv" venv -q --python 3.12 "$run/env"
  "$uv" pip install -q --python "$run/env/bin/python" "${wheel}[tpu,buckets]"
  if [ $# -gt 0 ]; then
    mount_share "$@"
  fi
}

start() {
  if alive; then
    echo "already running"
    return
  fi
  rm -f "$run/exit" "$run/pid"
  # Compiled programs outlive the VM where there is a share: a resumed run starts at once.
  if mountpoint -q "$mount_point"; then
    export JAX_COMPILATION_CACHE_DIR="$mount_point/jax-cache"
  fi
  # shellcheck disable=SC2016  # the inner shell expands these
  nohup setsid bash -c '
    run=$1
    shift
    echo $$ > "$run/pid"
    code=0
    # In the background: bash acts on a signal during `wait`, not during a command.
    "$run/env/bin/pathjax" train "$@" --multihost &
    child=$!
    trap "kill -TERM $child 2>/dev/null" TERM
    wait "$child" || code=$?
    # A signal ends the first wait; the second has the code that pathjax ends with.
    if kill -0 "$child" 2>/dev/null; then code=0; wait "$child" || code=$?; fi
    echo "$code" > "$run/exit.partial"
    mv "$run/exit.partial" "$run/exit"
  ' pathjax-run "$run" "$@" > "$run/log" 2>&1 < /dev/null &
  # The pid file is the sign that it is there.
  for _ in $(seq 100); do
    [ -f "$run/pid" ] && return
    sleep 0.1
  done
  echo "training did not start: $run/log says why" >&2
  return 1
}

mkdir -p "$run"
verb=${1:-}
shift || true
case $verb in
  install) install "$@" ;;
  data)
    mkdir -p "$2"
    gcloud storage rsync --recursive "$1" "$2"
    ;;
  start) start "$@" ;;
  status) status ;;
  newest)
    "$run/env/bin/python" -c \
      'import sys; from pathjax.train.checkpoint import newest; print(newest(sys.argv[1]))' "$1"
    ;;
  follow)
    [ -f "$run/log" ] || exit 0
    alive && exec tail -n +1 --pid="$(cat "$run/pid")" -F "$run/log"
    cat "$run/log"
    ;;
  *)
    echo "usage: $0 install|data|start|status|newest|follow" >&2
    exit 2
    ;;
esac
