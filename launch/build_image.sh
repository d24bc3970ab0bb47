#!/usr/bin/env bash
# Builds an image from this checkout and, with --push, pushes it to the tag's registry.
#
#   launch/build_image.sh cpu|cuda|tpu [--tag=REGISTRY/NAME:TAG] [--push] [--dry-run]
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
kind='' tag='' push='' dry=''
for word in "$@"; do
  case $word in
    cpu | cuda | tpu) kind=$word ;;
    --tag=*) tag=${word#*=} ;;
    --push) push=yes ;;
    --dry-run) dry=yes ;;
    *) kind='' && break ;;
  esac
done
if [ -z "$kind" ] || { [ -n "$push" ] && [ -z "$tag" ]; }; then
  sed -n '2,/^set /{/^set /d;s/^# \{0,1\}//;p}' "${BASH_SOURCE[0]}" >&2
  exit 2
fi
if [ ! -f "$here/../setup.py" ]; then
  echo "$here is not in a checkout; expected one: the image is built from its files" >&2
  exit 1
fi
tag=${tag:-pathjax:$kind}
extras=buckets
[ "$kind" = cpu ] || extras=$kind,buckets

run() {
  if [ -n "$dry" ]; then
    printf '%q ' "$@"
    echo
  else
    "$@"
  fi
}

run docker build --file "$here/Dockerfile" --build-arg "EXTRAS=$extras" --tag "$tag" \
  "$(cd "$here/.." && pwd)"
if [ -n "$push" ]; then
  run docker push "$tag"
fi
