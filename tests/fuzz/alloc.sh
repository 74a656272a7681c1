#!/bin/sh
# The k-th allocation fails, for many k, in five commands: the start of the program; three training
# steps with evaluation and saving; a resumption that overwrites an older checkpoint; sampling from
# a checkpoint; an import. Each must exit with code 0, or with code 2 and one sentence about memory,
# never by a signal or with another error; and existing files must stay whole.
#
#   tests/fuzz/alloc.sh [ALLOCATIONS]     how many for each of the ten cases (default 150)
#
# Each command makes two cases: only that allocation fails, or it and all that follow. The start,
# which is cheapest, gets four times as many. The allocations are spread evenly from the first to
# the last. The five commands run in parallel, each in its own folder.
set -u
each=${1:-150}
flowmap=$(realpath "${FLOWMAP:-./flowmap}")
here=$(cd "$(dirname "$0")" && pwd)
work=$(mktemp -d) || exit 1
mkdir "$work/base" || exit 1
trap 'rm -rf "$work"' EXIT
cp "$here/../../experiments/checkerboard.lua" "$work/base/e.lua"
${CC:-cc} -shared -fPIC -O1 -o "$work/base/fail.so" "$here/fail_alloc.c" || exit 1

# enter FOLDER: its cache also holds the data sets, so that one copy preserves both.
enter() {
  cd "$1" || exit 1
  export HOME="$1" XDG_CACHE_HOME="$1/cache" XDG_DATA_HOME="$1/cache"
}
enter "$work/base"
export FM_THREADS="${FM_THREADS:-2}"
unset FLOWMAP_DATA

small='--profile smoke --set width=8 --set steps=3 --set eval_samples=50 --set batch=16
  --set nfe=1 --set save_every=0'

# limited K ALL COMMAND...: the exit code, with standard error in ./err; the timeout catches hangs
limited() {
  k=$1 all=$2
  shift 2
  timeout -s KILL 600 env FAIL_AT="$k" FAIL_ALL="$all" FAIL_COUNT=count LD_PRELOAD=./fail.so \
    "$flowmap" "$@" >out 2>err
}

start() { :; }
start_args() { echo info; }
start_whole() { :; }

run() { rm -rf fresh; }
run_args() { echo "run e.lua $small --out fresh"; }
run_whole() { [ ! -e fresh/checkpoint.safetensors ] || loads fresh/checkpoint.safetensors; }

resume() { rm -rf again && cp -r interrupted again; }
resume_args() { echo "run e.lua $small --out again --resume"; }
resume_whole() {
  cmp -s again/checkpoint.safetensors interrupted/checkpoint.safetensors ||
    loads again/checkpoint.safetensors
}

sample() { cp kept/samples-N1.npy samples.npy; }
sample_args() { echo "sample kept/checkpoint.safetensors --count 20 --out samples.npy"; }
sample_whole() { cmp -s samples.npy kept/samples-N1.npy || cmp -s samples.npy twenty.npy; }

import() { rm -rf cache && cp -r drawn cache; }
import_args() { echo "data import afhq images"; }
import_whole() { diff -r images pictures >/dev/null; }

loads() { "$flowmap" sample "$1" --count 2 --out two.npy >out 2>err; }

# A finished run and its samples, an interrupted run, and pictures to import.
prepare() {
  # shellcheck disable=SC2046,SC2086
  "$flowmap" run e.lua $small --out kept >out 2>err &&
    "$flowmap" $(sample_args) >out 2>err && mv samples.npy twenty.npy || return 1
  mkdir -p images/train/cat images/train/dog images/train/wild
  for class in cat dog wild; do
    echo "fm.save_png('images/train/$class/a.png', fm.zeros { 64, 64, 3 })"
  done | "$flowmap" repl >out || return 1
  cp -r images pictures
  "$flowmap" data import afhq images >out 2>err || return 1
  cp -r cache drawn
  rm -rf interrupted
  limited 0 0 $(run_args)
  n=$(cat count) part=20
  while [ $part -lt 60 ] && [ ! -e interrupted/checkpoint.safetensors ]; do
    rm -rf fresh interrupted
    # shellcheck disable=SC2046
    limited $((n * part / 60)) 1 $(run_args)
    [ -e fresh ] && mv fresh interrupted
    part=$((part + 1))
  done
  [ -e interrupted/checkpoint.safetensors ] && [ ! -e interrupted/manifest.json ]
}

# wrong CASE K ALL CODE: prints what is wrong, if anything
wrong() {
  case $4 in
  0) ;;
  2)
    [ "$(grep -c '^flowmap: ' err)" -eq 1 ] || { echo "not one sentence"; return; }
    tail -1 err | grep -q '^flowmap: .*memory' || { echo "an error that is not about memory"; return; } ;;
  *) echo "exit code $4"; return ;;
  esac
  cp err first
  "$1_whole" || { echo "existing files are damaged"; cp err second; }
  mv first err
}

try() { # try CASE ALL: prints "CASE ALL: N passed, M failed"
  passed=0 failed=0 i=0 tries=$each
  [ "$1" != start ] || tries=$((4 * each))
  # shellcheck disable=SC2046
  "$1" && limited 0 0 $("$1_args") || { echo "$1 fails with enough memory: $(cat err)"; return; }
  n=$(cat count)
  while [ "$i" -lt "$tries" ]; do
    k=$((1 + (i * n + n * 7 / 10) / tries)) i=$((i + 1))
    "$1"
    # shellcheck disable=SC2046
    limited $k "$2" $("$1_args")
    why=$(wrong "$1" $k "$2" $?)
    if [ -z "$why" ]; then
      passed=$((passed + 1))
    else
      failed=$((failed + 1))
      echo "$1, allocation $k of $n, all=$2: $why: $(head -c 400 err)"
    fi
  done
  echo "$1, $([ "$2" = 1 ] && echo "it and all that follow" || echo "one"): $passed passed," \
    "$failed failed"
}

try_apart() { # try_apart CASE: in a copy of the prepared folder
  cp -a "$work/base" "$work/$1" && enter "$work/$1"
  for all in 0 1; do try "$1" $all; done
}

prepare || { echo "the preparation failed: $(cat err)"; exit 1; }
for case in start run resume sample import; do
  (try_apart $case) >"$work/$case.said" 2>&1 &
done
wait
cat "$work"/*.said
cat "$work"/*.said | awk '/^[a-z]+, [a-z ]+: [0-9]+ passed, [0-9]+ failed$/ {
    passed += $(NF - 3); failed += $(NF - 1); cases++
  } END { printf "%d passed, %d failed\n", passed, failed; exit failed > 0 || cases < 10 }'
