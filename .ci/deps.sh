#!/bin/sh
# Install the missing Debian packages of .ci/packages.txt, or of the list $1, with apt if permitted
# (as root, or by sudo without a password); otherwise print the command that does and exit with code
# 2. Returns at once if no package is missing.
set -eu
list=${1:-$(dirname "$0")/packages.txt}
packages=$(sed 's/#.*//' "$list" | xargs)

if ! command -v dpkg-query >/dev/null 2>&1; then
  echo "flowmap: not a Debian system; the build needs the contents of these packages: $packages" >&2
  exit 0
fi

# One query for all packages; unknown ones are reported only on stderr and count as missing below.
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
  # Package lists may be absent or old, so refresh them; without a network, cached ones may suffice.
  $apt apt-get update -q >/dev/null || true
  $apt $install -q >/dev/null && exit 0
  echo "flowmap: apt-get failed, see above; packages are still missing." >&2
fi
echo "flowmap: please install the missing packages, then try again:" >&2
if [ "$(id -u)" -eq 0 ]; then
  echo "  apt-get update && $install" >&2
else
  echo "  sudo apt-get update && sudo $install" >&2
fi
exit 2
