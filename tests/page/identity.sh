#!/bin/sh
# Make the smoke profile of the whole book twice, the second time as another user (if root runs it),
# on another day (if libfaketime is installed), in another language, time zone, home and folder; then
# compare every page, table, figure and their data byte by byte. It takes about ten minutes.
#
# usage: make identity [FOLDERS="ONE TWO"]    (FOLDERS: only compare what two folders hold)
set -eu
program=$1

# The files below a folder that a reader sees.
seen() {
  (cd "$1" && find results paper/build \( -name '*.html' -o -name '*.csv' -o -name '*.svg' \
    -o -name '*.png' -o -name '*.md' -o -name '*.tex' \) | LC_ALL=C sort)
}

compare() {
  seen "$1" >"$work/one.list"
  seen "$2" >"$work/two.list"
  different=0
  diff "$work/one.list" "$work/two.list" || different=1
  count=0
  while read -r name; do
    count=$((count + 1))
    cmp "$1/$name" "$2/$name" || different=1
  done <"$work/one.list"
  [ "$different" -eq 0 ] || { echo "identity: files differ" >&2; exit 1; }
  [ "$count" -gt 0 ] || { echo "identity: there are no files in $1" >&2; exit 1; }
  echo "identity: $count files have the same bytes"
}

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
chmod 755 "$work"
if [ $# -eq 3 ]; then
  compare "$2" "$3"
  exit 0
fi

# Each has a copy of its own, as git does not tell a user the revision of another's; at the same
# place, since the page links to the scripts.
source=$(dirname "$program")
if [ -f "$source/.git" ]; then
  echo "identity: $source is a linked worktree, whose revision git tells no other user;" \
    "run it in a clone" >&2
  exit 2
fi
for name in one "another, one"; do
  mkdir "$work/$name" "$work/home of $name"
  cp -a "$source" "$work/$name/suite"
  ln -s suite/experiments "$work/$name/experiments"
done
program=suite/$(basename "$program")
other=
if [ "$(id -u)" -eq 0 ]; then
  chown -R 65534:65534 "$work/another, one" "$work/home of another, one"
  other="setpriv --reuid=65534 --regid=65534 --clear-groups"
else
  echo "identity: the same user makes both, since only root can become another"
fi
language=$(locale -a | grep -v -e '^C' -e '^POSIX' | head -n 1)
[ -n "$language" ] || echo "identity: no language is installed except C"
clock=$(find /usr/lib /usr/local/lib -name 'libfaketimeMT.so.1' 2>/dev/null | head -n 1)
[ -n "$clock" ] || echo "identity: both are made today, since libfaketime is not installed"

(cd "$work/one" && env LC_ALL=C TZ=UTC HOME="$work/home of one" XDG_CACHE_HOME= XDG_DATA_HOME= \
  "./$program" reproduce --profile smoke)
(cd "$work/another, one" && $other env LC_ALL="${language:-C.UTF-8}" TZ=Asia/Tokyo USER=nobody \
  HOME="$work/home of another, one" XDG_CACHE_HOME= XDG_DATA_HOME= LD_PRELOAD="$clock" \
  FAKETIME=+1524d DONT_FAKE_MONOTONIC=1 "./$program" reproduce --profile smoke)
compare "$work/one" "$work/another, one"
