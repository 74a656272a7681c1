#!/bin/sh
# Random calls of the binding (calls.lua) in a program built with AddressSanitizer and UBSan.
#
#   tests/fuzz/calls.sh [SECONDS] [SEED]     default: 600 seconds, seed 1
set -eu
cd "$(dirname "$0")/../.."
make B=build/asan PROGRAM=build/asan/flowmap CFLAGS='-O1 -g' \
  SANITIZE='-fsanitize=address,undefined -fno-sanitize-recover=all -fno-omit-frame-pointer' \
  build/asan/flowmap
ln -sfn ../../lua build/asan/lua
export SECONDS="${1:-600}" SEED="${2:-1}" FM_THREADS=2
export ASAN_OPTIONS=allocator_may_return_null=1:max_allocation_size_mb=1024:detect_leaks=0
export UBSAN_OPTIONS=print_stacktrace=1
echo 'dofile "tests/fuzz/calls.lua"' | build/asan/flowmap repl
