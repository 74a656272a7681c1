#!/bin/sh
# Build for AArch64 with Debian's cross compiler and run a part of the tests under qemu, which
# interprets every instruction: this shows that the NEON kernels compute what they should, not how
# fast. The arm64 libraries are unpacked below build/arm; the system gets no foreign architecture.
#
# ARM_CPU=cortex-a72 is a processor without bfloat16 products; the default has all that qemu knows.
# FM_TEST_SPARSE=1 tries all cases of the tests, which takes an hour. Exit code 2: something to build
# or run with is missing.
set -eu
cd "$(dirname "$0")/.."
arm=$PWD/build/arm
root=$arm/root

if [ "$(uname -m)" = aarch64 ]; then
  echo "flowmap: this is an Arm machine: make check tests the NEON kernels on it"
  exit 0
fi
if ! command -v apt-get >/dev/null 2>&1; then
  echo "flowmap: check-arm: it needs the cross compiler and the arm64 packages of a Debian system" >&2
  exit 2
fi
.ci/deps.sh .ci/packages-arm.txt
mkdir -p "$arm/apt/lists/partial" "$arm/apt/archives/partial"

# ---------------------------------------------------------------------- the arm64 libraries

# apt with a state of its own, in which nothing is installed and arm64 is the architecture.
: >"$arm/apt/status"
cat >"$arm/apt/conf" <<END
APT::Architecture "arm64";
APT::Architectures { "arm64"; };
APT::Sandbox::User "root";
Acquire::Languages "none";
Debug::NoLocking "1";
Dir::State "$arm/apt";
Dir::State::status "$arm/apt/status";
Dir::Cache "$arm/apt";
END
apt() { APT_CONFIG=$arm/apt/conf apt-get -q -y "$@"; }

# The libraries among our packages, with what they depend on.
wanted=$(sed 's/#.*//' .ci/packages.txt | grep -E '^(lib.*-dev|nettle-dev|zlib1g-dev|lua)' | xargs)
if [ "$(cat "$root/complete" 2>/dev/null)" != "$wanted" ]; then
  echo "flowmap: unpacking arm64 libraries below build/arm"
  apt update >/dev/null || :
  rm -rf "$root" && mkdir -p "$root"
  # shellcheck disable=SC2086 # a list of words
  apt install --download-only --no-install-recommends $wanted >"$arm/apt/log" ||
    { cat "$arm/apt/log" >&2; exit 2; }
  for package in "$arm"/apt/archives/*.deb; do dpkg-deb -x "$package" "$root"; done
  rm -f "$arm"/apt/archives/*.deb
  echo "$wanted" >"$root/complete"
fi

# ---------------------------------------------------------------------- build

libraries=$root/usr/lib/aarch64-linux-gnu
export PKG_CONFIG_SYSROOT_DIR="$root"
export PKG_CONFIG_LIBDIR="$libraries/pkgconfig:$libraries/openblas-pthread/pkgconfig"
ccache=$(command -v ccache || :)
tests="simd gemm gemm_bf16 ops conv sums neighbours dropout optim imops assignment"
# With as many jobs as it would have alone, although `make check-arm` called us.
env -u MAKELEVEL -u MAKEFLAGS make CC="$ccache aarch64-linux-gnu-gcc --sysroot=$root" AR=aarch64-linux-gnu-ar B=build/arm \
  PROGRAM=build/arm/flowmap LUA_STATIC="$libraries/liblua5.4.a" build/arm/flowmap \
  $(printf ' build/arm/tests/c/test_%s' $tests) || exit 1
ln -sfn ../../lua ../../paper build/arm/

# ---------------------------------------------------------------------- test

# The interpreter reads the libraries below $root. qemu's processor is none that OpenBLAS knows.
cat >"$arm/run" <<END
#!/bin/sh
exec qemu-aarch64-static -L "$root" -cpu "\${ARM_CPU:-max}" -E OPENBLAS_CORETYPE=ARMV8 \\
  -E LD_LIBRARY_PATH=/usr/lib/aarch64-linux-gnu/openblas-pthread "\$@"
END
chmod +x "$arm/run"
# has NAME VALUE: a line of `flowmap info`
has() {
  "$arm/run" "$arm/flowmap" info | grep -q "^$1 *$2\$" ||
    { echo "flowmap: check-arm: $1 is not $2" >&2; exit 1; }
}
has "instruction set" neon
has bfloat16 neon_bf16
ARM_CPU=cortex-a72 has bfloat16 emulated

rm -rf "$arm/smoke"
"$arm/run" "$arm/flowmap" --threads 2 run experiments/checkerboard.lua --profile smoke --set steps=4 \
  --set nfe=1 --set eval_samples=200 --out "$arm/smoke"

export FM_TEST_SPARSE="${FM_TEST_SPARSE:-13}" FM_TEST_TIMEOUT="${FM_TEST_TIMEOUT:-1500}"
set --
for t in $tests; do set -- "$@" "build/arm/run build/arm/tests/c/test_$t"; done
tests/run.sh "$@" "build/arm/run build/arm/flowmap gradcheck" \
  "build/arm/run build/arm/flowmap lua .ci/smoke.lua"
