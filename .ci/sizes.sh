#!/bin/sh
# Check that source files have lines of at most 100 columns and at most 500 lines. Arguments: files.
export LC_ALL=C.UTF-8 # columns, not bytes (awk may count bytes)
bad=0
grep -nE '^.{101}' /dev/null "$@" | sed -E 's/^([^:]*:[0-9]+):.*/\1: more than 100 columns/' |
  grep . && bad=1
wc -l "$@" | awk '$2 != "total" && $1 > 500 { print $2 ": " $1 " lines, at most 500 expected" }' |
  grep . && bad=1
exit $bad
