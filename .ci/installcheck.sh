#!/bin/sh
# Try the installation below the prefix $1, from an empty folder and with an empty environment.
set -eu
to=$1
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
mkdir "$folder/work" "$folder/tmp"
touch "$folder/start"

# Runs a command that must succeed; its output is shown if it does not.
try() {
  printf '  %s\n' "$*"
  (cd "$folder/work" && env -i HOME="$folder" TMPDIR="$folder/tmp" PATH=/usr/bin:/bin \
    ${lua_path:+LUA_PATH="$lua_path"} ${lua_cpath:+LUA_CPATH="$lua_cpath"} "$@") \
    >"$folder/output" 2>&1 </dev/null || fail "it ended with exit code $?"
}

fail() {
  cat "$folder/output"
  echo "flowmap: installcheck: $1" >&2
  exit 1
}

# Fails unless the file exists and has contents.
made() { [ -s "$folder/work/$1" ] || fail "$1 was not written"; }

try bash -n "$to/share/bash-completion/completions/flowmap"
[ -s "$to/share/zsh/site-functions/_flowmap" ] || fail "the completion of zsh is missing"
[ -s "$to/share/man/man1/flowmap.1" ] || fail "the manual page is missing"
if command -v man >/dev/null; then try man -l "$to/share/man/man1/flowmap.1"; fi

flowmap=$to/bin/flowmap
try "$flowmap" info
try "$flowmap" run experiments/checkerboard.lua --profile smoke --out run
made run/eval.json
try "$flowmap" sample run/checkpoint.safetensors --count 10 --out samples.csv
made samples.csv
try "$flowmap" paper --results paper/results/long
made paper/build/flow-maps.html

lua_path="$to/share/lua/5.4/?.lua;$to/share/lua/5.4/?/init.lua;;" lua_cpath="$to/lib/lua/5.4/?.so;;"
try lua5.4 -e 'local fm = require "flowmap"; print(fm.info().version, fm.sum(fm.ones { 2, 3 }))'
try lua5.4 -e 'print(require("flowmap").published.read().source)' # a file beside the modules
lua_path= lua_cpath=

find "$to/share/flowmap" "$to/lib/lua/5.4/flowmap" -newer "$folder/start" >"$folder/output"
[ ! -s "$folder/output" ] || fail "the program wrote into its installation"
echo "the installation below $to works"
