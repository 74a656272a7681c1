#!/bin/sh
# Build with musl in place of glibc, as Alpine Linux has it, and run the tests of derivatives and
# short trainings. Of the systems without glibc it is the one that can be built and run on Debian:
# musl-gcc and the sources of the libraries are Debian's. OpenBLAS is a stand-in
# (tests/musl/openblas.c).
set -eu
cd "$(dirname "$0")/.."
musl=$PWD/build/musl
sources=$musl/sources
.ci/deps.sh .ci/packages-musl.txt

# ---------------------------------------------------------------------- sources of the libraries

mkdir -p "$musl/apt/lists/partial" "$musl/apt/archives/partial" "$musl/apt/parts" "$musl/lib" \
  "$musl/include" "$musl/modules"
: >"$musl/apt/status"
if [ -e /etc/apt/sources.list.d/debian.sources ]; then
  sed 's/^Types: deb$/Types: deb-src/' /etc/apt/sources.list.d/debian.sources \
    >"$musl/apt/parts/debian.sources"
elif [ -e /etc/apt/sources.list ]; then
  sed -n 's/^deb /deb-src /p' /etc/apt/sources.list >"$musl/apt/parts/debian.list"
else
  echo "flowmap: check-musl: it needs the sources of Debian's packages, found no list of them" >&2
  exit 2
fi
cat >"$musl/apt/conf" <<END
APT::Sandbox::User "root";
Acquire::Languages "none";
Debug::NoLocking "1";
Dir::Etc::sourcelist "/dev/null";
Dir::Etc::sourceparts "$musl/apt/parts";
Dir::State "$musl/apt";
Dir::State::status "$musl/apt/status";
Dir::Cache "$musl/apt";
END
if [ ! -e "$sources/complete" ]; then
  mkdir -p "$sources"
  export APT_CONFIG="$musl/apt/conf"
  apt-get -q update >/dev/null || true # old lists may do
  (cd "$sources" && apt-get -q source --download-only --tar-only lua5.4 zlib libpng1.6 nettle \
    libjpeg-turbo lua-cjson lua-filesystem >/dev/null) || {
    echo "flowmap: check-musl: the sources of Debian's packages cannot be had" >&2
    exit 2
  }
  (cd "$sources" && for archive in *.orig.tar.gz *.orig.tar.bz2 *.orig.tar.xz; do
    [ ! -e "$archive" ] || tar -xf "$archive"
  done && touch complete)
  unset APT_CONFIG
fi

# ---------------------------------------------------------------------- libraries

# archive NAME FOLDER FLAGS FILE...: a static library of sources
archive() {
  name=$1 folder=$2 flags=$3
  shift 3
  [ ! -e "$musl/lib/lib$name.a" ] || return 0
  mkdir -p "$musl/objects/$name"
  for file in "$@"; do
    # shellcheck disable=SC2086 # a list of words
    (cd "$sources"/$folder && musl-gcc -fPIC -w $flags -I"$musl/include" -c "$file" \
      -o "$musl/objects/$name/$(basename "$file" .c).o")
  done
  ar rcs "$musl/lib/lib$name.a" "$musl/objects/$name/"*.o
}

# names FOLDER PATTERN EXCEPTIONS: its sources
names() { (cd "$sources"/$1 && ls $2 | grep -vxE "$3"); }

cp "$sources"/zlib-*/zlib.h "$sources"/zlib-*/zconf.h "$sources"/libpng1.6-*/png*.h \
  "$sources"/libpng-*/png*.h "$musl/include" 2>/dev/null || :
cp "$sources"/libpng*/scripts/pnglibconf.h.prebuilt "$musl/include/pnglibconf.h"
mkdir -p "$musl/include/nettle" "$musl/include/lua5.4"
cp "$sources"/nettle-*/sha2.h "$sources"/nettle-*/nettle-types.h "$musl/include/nettle/"
: >"$musl/include/config.h" # of nettle
echo '#include <nettle/nettle-types.h>' >"$musl/include/version.h"
cp "$sources"/lua-5.4*/src/*.h "$musl/include/lua5.4/"
cp "$sources"/libjpeg-turbo-*/j*.h "$musl/include/"
cat >"$musl/include/jconfig.h" <<'END'
#define JPEG_LIB_VERSION 62
#define LIBJPEG_TURBO_VERSION 2.1.5
#define LIBJPEG_TURBO_VERSION_NUMBER 2001005
#define MEM_SRCDST_SUPPORTED 1
#define BITS_IN_JSAMPLE 8
END
cat >"$musl/include/jconfigint.h" <<'END'
#define BUILD ""
#define INLINE inline
#define THREAD_LOCAL _Thread_local
#define PACKAGE_NAME "libjpeg-turbo"
#define VERSION "2.1.5"
#define SIZEOF_SIZE_T 8
#define FALLTHROUGH
END
sed 's/@COPYRIGHT_YEAR@/2023/' "$sources"/libjpeg-turbo-*/jversion.h.in >"$musl/include/jversion.h"

archive z 'zlib-*' '-DHAVE_UNISTD_H' $(names 'zlib-*' '*.c' 'none')
archive png16 'libpng-*' '-DPNG_INTEL_SSE_OPT=0' $(names 'libpng-*' 'png*.c' 'pngtest.c')
archive nettle 'nettle-*' '-I.' sha256.c sha256-compress.c write-be32.c
archive lua5.4 'lua-5.4*/src' '-DLUA_USE_LINUX' $(names 'lua-5.4*/src' '*.c' 'luac?\.c')
archive jpeg 'libjpeg-turbo-*' '' $(sed -n '/^set(JPEG_SOURCES jc/,/)/p' \
  "$sources"/libjpeg-turbo-*/CMakeLists.txt | tr -d ')' | sed 's/set(JPEG_SOURCES//') jsimd_none.c

# lua_module NAME FOLDER FILE...: a module in C that the program loads
lua_module() {
  name=$1 folder=$2
  shift 2
  (cd "$sources"/$folder && musl-gcc -fPIC -w -shared -I"$musl/include/lua5.4" "$@" \
    -o "$musl/modules/$name.so" -lm)
}
lua_module cjson 'lua-cjson-*' lua_cjson.c strbuf.c fpconv.c
lua_module lfs 'lua-filesystem-*/src' lfs.c

# Headers alone: these libraries are loaded at run time, and Debian's do not fit musl.
system=/usr/include/$(gcc -dumpmachine)
cp -r /usr/include/archive*.h "$system/curl" "$musl/include/"
cp "$system/openblas-pthread/"*.h "$musl/include/"
musl-gcc -O1 -fPIC -shared -I"$musl/include" tests/musl/openblas.c -o "$musl/lib/libopenblas.so.0" -lm

mkdir -p "$musl/pc"
pc() {
  printf 'Name: %s\nDescription: for musl\nVersion: 1\nlibdir=%s\nCflags: -I%s\nLibs: -L%s %s\n' \
    "$1" "$musl/lib" "$musl/include $3" "$musl/lib" "$2" >"$musl/pc/$1.pc"
}
pc lua5.4 -llua5.4 "-I$musl/include/lua5.4"
pc openblas -lopenblas ""
pc nettle -lnettle ""
pc zlib -lz ""
pc libarchive "" ""
pc libjpeg -ljpeg ""
pc libpng "-lpng16 -lz -lm" ""
pc libcurl "" ""

# ---------------------------------------------------------------------- build and test

# Without the variables of `make check-musl`, so with as many jobs as it would have alone.
env -u MAKELEVEL -u MAKEFLAGS PKG_CONFIG_LIBDIR="$musl/pc" make CC=musl-gcc CFLAGS=-O1 B=build/musl \
  PROGRAM=build/musl/flowmap LUA_STATIC="$musl/lib/liblua5.4.a" build/musl/flowmap || exit 1
ln -sfn ../../lua ../../paper build/musl/
cat >"$musl/run" <<END
#!/bin/sh
exec env LD_LIBRARY_PATH="$musl/lib" LUA_CPATH="$musl/modules/?.so" LUA_PATH="/usr/share/lua/5.4/?.lua" \\
  XDG_CACHE_HOME="$musl/cache" "$musl/flowmap" "\$@"
END
chmod +x "$musl/run"
"$musl/run" info
tests/run.sh "build/musl/run gradcheck" "build/musl/run lua .ci/smoke.lua"
