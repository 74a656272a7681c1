#!/bin/sh
# Kill a run with SIGKILL at random moments, continue it each time with --resume, and compare its
# files with those of an undisturbed run: they must be bit-identical, except the two that contain
# times, manifest.json and history.jsonl.
#
#   tests/fuzz/kill.sh [KILLS]       default 50; FLOWMAP=program, SEED=of the moments (default 1)
#
# A run that finishes before all kills are used is compared, and the next starts in a new folder.
set -u
kills=${1:-50}
program=${FLOWMAP:-./flowmap}
work=$(mktemp -d) || exit 1
trap 'rm -rf "$work"' EXIT
export HOME="$work/home" XDG_CACHE_HOME="$work/cache" XDG_DATA_HOME="$work/data"

run() {
  "$@" "$program" run experiments/checkerboard.lua --profile smoke --set width=32 --set batch=64 \
    --set steps=1500 --set log_every=70 --set save_every=0.03 --set checkpoints=3 \
    --set eval_samples=20000 --set nfe=1,2 $resume --out "$folder" >"$work/log" 2>&1
}

files() { (cd "$1" && find . -type f ! -name manifest.json ! -name history.jsonl |
  sort | xargs sha256sum); }

resume= folder=$work/whole
run env || { cat "$work/log"; exit 1; } # fills the cache for later runs
folder=$work/again start=$(date +%s%N)
run env || { cat "$work/log"; exit 1; }
longest=$((($(date +%s%N) - start) / 10000000)) # hundredths of a second
files "$work/whole" >"$work/expected"

done=0
compare() {
  files "$folder" >"$work/found"
  cmp -s "$work/expected" "$work/found" && return
  echo "after $done kills the files differ:"
  diff "$work/expected" "$work/found"
  exit 1
}

compare

# Moments within the duration of an undisturbed run, from a linear congruential generator.
x=${SEED:-1} runs=0
while [ "$done" -lt "$kills" ]; do
  runs=$((runs + 1)) folder=$work/run$runs
  while :; do
    [ -e "$folder/.flowmap" ] && resume=--resume || resume=
    if [ "$done" -lt "$kills" ]; then
      x=$(((x * 1103515245 + 12345) % 2147483648))
      moment=$((x / 65536 % longest + 1))
      run timeout --signal=KILL "$(printf '%d.%02d' $((moment / 100)) $((moment % 100)))"
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
