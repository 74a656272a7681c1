#!/bin/sh
# Kill a run by SIGKILL at many moments, each time continue it with --resume, and compare what it
# left with the same run left alone: every file must be there with the same bits, except the two
# that know the clock, manifest.json and history.jsonl.
#
#   tests/fuzz/kill.sh [KILLS]       default 50; FLOWMAP=program, SEED=of the moments (default 1)
#
# A run that ends before all kills are spent is compared, and the next one starts in a new folder.
set -u
kills=${1:-50}
program=${FLOWMAP:-./flowmap}
work=$(mktemp -d) || exit 1
trap 'rm -rf "$work"' EXIT

run() {
  "$@" "$program" run experiments/checkerboard.lua --profile smoke --set width=32 --set batch=64 \
    --set steps=1500 --set log_every=70 --set save_every=0.03 --set checkpoints=3 \
    --set eval_samples=20000 --set nfe=1,2 $resume --out "$folder" >"$work/log" 2>&1
}

files() { (cd "$1" && find . -type f ! -name manifest.json ! -name history.jsonl |
  sort | xargs sha256sum); }

resume= folder=$work/whole
run env || { cat "$work/log"; exit 1; }
files "$folder" >"$work/expected"

compare() {
  files "$folder" >"$work/found"
  cmp -s "$work/expected" "$work/found" && return
  echo "after $done kills the files differ:"
  diff "$work/expected" "$work/found"
  exit 1
}

# Moments from 0.01 to 0.50 s by a linear congruential generator.
x=${SEED:-1} done=0 runs=0
while [ "$done" -lt "$kills" ]; do
  runs=$((runs + 1)) folder=$work/run$runs
  while :; do
    [ -e "$folder/.flowmap" ] && resume=--resume || resume=
    if [ "$done" -lt "$kills" ]; then
      x=$(((x * 1103515245 + 12345) % 2147483648))
      run timeout --signal=KILL "$(printf '0.%02d' $((x / 65536 % 50 + 1)))"
    else
      run env
    fi
    code=$?
    [ "$code" -eq 0 ] && break
    [ "$code" -eq 137 ] || { echo "exit code $code after $done kills:"; cat "$work/log"; exit 1; }
    done=$((done + 1))
  done
  compare
done
echo "$done kills in $runs runs; every file bit-identical"
