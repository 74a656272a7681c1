#!/bin/sh
# Check that source files have lines of at most 100 columns, at most 500 lines, and functions of at
# most 40 lines. Arguments: files.
export LC_ALL=C.UTF-8 # columns, not bytes (awk may count bytes)
bad=0
grep -nE '^.{101}' /dev/null "$@" | sed -E 's/^([^:]*:[0-9]+):.*/\1: more than 100 columns/' |
  grep . && bad=1
wc -l "$@" | awk '$2 != "total" && $1 > 500 { print $2 ": " $1 " lines, at most 500 expected" }' |
  grep . && bad=1
# A function begins and ends at the first column.
awk 'FNR == 1 { start = 0 }
  FILENAME ~ /\.lua$/ && /^(local )?function / { start = / end$/ ? 0 : FNR }
  FILENAME !~ /\.lua$/ && /^[A-Za-z_]/ { start = /\(/ && !/;$/ ? FNR : 0 }
  /^(end|\})/ && start {
    if (FNR - start >= 40)
      print FILENAME ":" start ": a function of " FNR - start + 1 " lines, at most 40 expected"
    start = 0
  }' "$@" | grep . && bad=1
exit $bad
