#!/usr/bin/env bash
# Builds the image without a Docker engine and tries it: help, user, compiler, a short training, and
# a job sent with `ray job submit`. `make image-test` runs it; IMAGE and BASE_IMAGE may be set.
set -euo pipefail
cd "$(dirname "$0")/.."

IMAGE=${IMAGE:-localhost/mec-rllib:test}
BASE_IMAGE=${BASE_IMAGE:-}
LOCAL_BASE=localhost/mec-rllib-base:bookworm

fail() { echo "image-test: $*" >&2; exit 2; }
for tool in buildah debootstrap unshare; do
  command -v "$tool" > /dev/null \
    || fail "$tool is missing: apt-get install buildah debootstrap util-linux"
done
[ "$(id -u)" = 0 ] || fail "needs root: debootstrap and buildah's chroot isolation do"

work=$(mktemp -d)
container=
cleanup() {
  if [ -n "$container" ]; then buildah rm "$container" > /dev/null; fi
  rm -rf "$work"
}
trap cleanup EXIT

if [ -z "$BASE_IMAGE" ]; then
  BASE_IMAGE=$LOCAL_BASE
  if ! buildah inspect --type image "$BASE_IMAGE" > /dev/null 2>&1; then
    echo "base: Debian bookworm with Python, by debootstrap"
    debootstrap --variant=minbase --include=python3,python3-venv,ca-certificates \
      bookworm "$work/base" > "$work/debootstrap.log" \
      || { tail -5 "$work/debootstrap.log" >&2; fail "debootstrap failed"; }
    tar -C "$work/base" --exclude='./dev/*' --exclude='./var/cache/apt/*' \
      --exclude='./var/lib/apt/lists/*' -cf "$work/base.tar" .
    base=$(buildah from scratch)
    buildah add --quiet "$base" "$work/base.tar" / > /dev/null
    buildah config --cmd bash "$base"
    buildah commit --quiet --rm "$base" "$BASE_IMAGE" > /dev/null
  fi
fi

# This machine's pip settings, and the local folders that they name, for the build only.
mounts=()
while read -r path; do mounts+=(--volume "$path:$path:ro"); done \
  < <(.venv/bin/pip config list | .venv/bin/python deploy/pip_settings.py "$work/pip.conf")

echo "build: $IMAGE on $BASE_IMAGE"
started=$SECONDS
buildah bud --isolation chroot --format docker --layers --build-arg BASE_IMAGE="$BASE_IMAGE" \
  --secret id=pip_conf,src="$work/pip.conf" "${mounts[@]}" --tag "$IMAGE" . > "$work/build.log" 2>&1 \
  || { tail -20 "$work/build.log" >&2; fail "the build failed"; }
echo "built in $((SECONDS - started)) s"

container=$(buildah from --pull-never "$IMAGE")
# In a process namespace of its own: what Ray leaves behind ends with it.
inside() { unshare --pid --fork --kill-child --mount-proc buildah run --isolation chroot "$container" -- "$@"; }

inside mec-rllib --help
inside tensorboard --version > /dev/null 2>&1 || fail "tensorboard does not start"
[ "$(inside id -u)" = 1000 ] || fail "runs as root"
inside bash -lc 'command -v ray mec-rllib python' > /dev/null || fail "a login shell finds no ray"
inside bash -c '! command -v cc gcc g++ clang' || fail "a compiler is left in the image"

echo "training, 2,000 slots with ats:"
inside mec-rllib train /app/tune_configs/demo.yaml --out /runs/short \
  --set 'strategies=[ats]' --set slots=2000 --set evaluation.slots=1000 | grep -A 2 '^demo'
inside python -c "
import json
(row,) = json.load(open('/runs/short/summary.json'))['rows']
assert row['learner_updates'] == 32 * row['training_jobs'] > 0, row"

echo "the same as a job, the way KubeRay sends one:"
inside bash -c '
  export RAY_AUTH_MODE=token RAY_AUTH_TOKEN=$(python -c "import secrets; print(secrets.token_hex(32))")
  ray start --head --num-cpus=2 --disable-usage-stats --object-store-memory=100000000 > /tmp/start
  ray job submit --address http://127.0.0.1:8265 -- \
    mec-rllib tune /app/tune_configs/demo.yaml --address auto --out /runs/job \
    --set "strategies=[pts,sjf]" --set "seeds=[0]" --set slots=1000 --set evaluation.slots=1000' \
  > "$work/job.log" 2>&1 || { tail -20 "$work/job.log" >&2; fail "the job failed"; }
grep -E '^cluster:|succeeded' "$work/job.log"

echo "size: $(buildah images --format '{{.Size}}' "$IMAGE") ($(buildah images --format '{{.Size}}' \
  "$BASE_IMAGE") of it the base)"
echo "image-test: passed"
