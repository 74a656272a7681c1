#!/bin/sh
# Train a few steps on the plane and on images, with 1, 2 and 4 threads: the weights must have the
# same bits. Reports like a test (tests/run.sh).
#
#   .ci/smoke.sh FOLDER COMMAND...      COMMAND starts the program, perhaps under an interpreter
set -eu
folder=$1
shift
rm -rf "$folder"
mkdir -p "$folder"
passed=0 failed=0

# train NAME EXPERIMENT SETTINGS: three trainings of the same run
train() {
  name=$1 experiment=$2
  shift 2
  for threads in 1 2 4; do
    $command --threads $threads run "experiments/$experiment.lua" --profile smoke "$@" \
      --out "$folder/$name-$threads" >"$folder/$name-$threads.log" 2>&1 </dev/null ||
      cat "$folder/$name-$threads.log"
  done
  bits=$($command lua .ci/weights.lua -- "$folder/$name"-[124]/checkpoint.safetensors) ||
    bits=none
  if [ "$(echo "$bits" | wc -l)" = 3 ] && [ "$(echo "$bits" | sort -u | wc -l)" = 1 ]; then
    passed=$((passed + 1))
  else
    failed=$((failed + 1))
    printf '%s: 1, 2 and 4 threads give other weights, or none:\n%s\n' "$name" "$bits"
  fi
}

command=$*
few="--set nfe=1 --set eval_samples=200"
# shellcheck disable=SC2086 # lists of words
{
  train plane checkerboard --method lsd --set steps=4 --set batch=64 --set micro=16 $few
  train images cifar10 --method lsd --set steps=2 --set batch=4 --set micro=1 $few
  train bfloat16 checkerboard --method psd-m --set steps=2 --set batch=64 --set micro=16 $few \
    --set precision=bfloat16
}
echo "$passed passed, $failed failed"
[ $failed -eq 0 ]
