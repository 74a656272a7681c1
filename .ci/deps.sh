#!/bin/sh
# Install the Debian packages of .ci/packages.txt that are missing: with apt where we may (root, or
# sudo that asks for no password), else print the one apt line that does it and exit 2.
# Does nothing, at once, when everything is there.
set -eu
list=$(dirname "$0")/packages.txt
packages=$(sed 's/#.*//' "$list" | xargs)

if ! command -v dpkg-query >/dev/null 2>&1; then
  echo "flowmap: not a Debian system; the build needs what these packages hold: $packages" >&2
  exit 0
fi

# One query for all; packages never heard of are reported on stderr only, hence missing below.
present=" $(dpkg-query -W -f='${db:Status-Status}:${Package}\n' $packages 2>/dev/null |
  sed -n 's/^installed://p' | xargs) "
missing=
for p in $packages; do
  case $present in *" $p "*) ;; *) missing="$missing $p" ;; esac
done
[ -n "$missing" ] || exit 0

if [ "$(id -u)" -eq 0 ]; then
  sudo=
elif sudo -n true >/dev/null 2>&1; then
  sudo="sudo -n"
else
  sudo=no
fi

install="apt-get install -y --no-install-recommends$missing"
if [ "$sudo" != no ]; then
  echo "flowmap: installing$missing"
  apt="$sudo env DEBIAN_FRONTEND=noninteractive"
  # Package lists may be absent or old: refresh them, but let a cached set do without a network.
  $apt apt-get update -q >/dev/null || true
  $apt $install -q >/dev/null && exit 0
  echo "flowmap: apt-get failed, see above; packages are still missing." >&2
fi
echo "flowmap: please install what is missing, then try again:" >&2
if [ "$(id -u)" -eq 0 ]; then
  echo "  apt-get update && $install" >&2
else
  echo "  sudo apt-get update && sudo $install" >&2
fi
exit 2
