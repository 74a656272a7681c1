# flowmap: build, test, reproduce. `make help` lists the targets.
#
#   make CC=clang CFLAGS='-O2 -g'    another compiler, other optimisation
#   make V=1                         show the commands
#
# All build products are in build/, except the program ./flowmap.

ifeq ($(origin CC),default)
CC = gcc
endif
CFLAGS = -O3
PREFIX = /usr/local
PROFILE = laptop

# One job per processor. A -j on the command line overrides this, and so does a calling make.
ifeq ($(MAKELEVEL),0)
MAKEFLAGS += --no-print-directory -j$(shell nproc 2>/dev/null || getconf _NPROCESSORS_ONLN)
endif

# With CDPATH, cd would look into other folders first and print where it went; the others would hide
# LUA_PATH and LUA_CPATH below, run code in each Lua, or be options of gzip.
unexport CDPATH LUA_PATH_5_4 LUA_CPATH_5_4 LUA_INIT LUA_INIT_5_4 GZIP

comma = ,
B = build
PROGRAM = flowmap
MODULE = $B/flowmap/core.so
LIBRARY = $B/libflowmap.a
Q = $(if $V,,@)

# ---------------------------------------------------------------------- flags

WARNINGS = -Wall -Wextra -Wno-missing-field-initializers -Wpedantic -Wshadow -Wconversion \
  -Wstrict-prototypes -Wmissing-prototypes -Wvla \
  -Werror=implicit-function-declaration -Werror=incompatible-pointer-types -Werror=int-conversion
# Without contraction of a*b+c and without -march=native, all compilers and machines with the same
# instruction set give the same bits. The module needs position-independent code, which hidden
# symbols make free of cost.
FLAGS = -std=c11 -D_XOPEN_SOURCE=700 -Icore -MMD -MP -fPIC -fvisibility=hidden \
  -ffp-contract=off -pthread$(if $(DARWIN), -D_DARWIN_C_SOURCE) $(WARNINGS) $(CFLAGS) $(SANITIZE)

# The machine that is compiled for, as the compiler names it.
MACHINE := $(shell $(CC) -dumpmachine 2>/dev/null)
DARWIN = $(findstring darwin,$(MACHINE))

# pkg-config is called on first use and its answer kept; `make help` does not need it.
LIBRARIES = openblas nettle zlib libarchive libjpeg libpng
LUA_CFLAGS = $(eval LUA_CFLAGS := $$(shell pkg-config --cflags lua5.4))$(LUA_CFLAGS)
LUA_STATIC = $(eval LUA_STATIC := \
  $$(shell pkg-config --variable=libdir lua5.4)/liblua5.4.a)$(LUA_STATIC)
# Homebrew has no static library of Lua.
LUA_DYNAMIC = $(eval LUA_DYNAMIC := $$(shell pkg-config --libs lua5.4))$(LUA_DYNAMIC)
LIB_CFLAGS = $(eval LIB_CFLAGS := $$(shell pkg-config --cflags $$(LIBRARIES)))$(LIB_CFLAGS)
# Not linked but loaded at run time: see core/blas.c and core/io/libarchive.h.
LOADED = openblas libarchive
LIBS = $(eval LIBS := \
  $$(shell pkg-config --libs $$(filter-out $$(LOADED),$$(LIBRARIES))) -lm -ldl)$(LIBS)
# Only the header is needed: the library is loaded for the first download (core/io/fetch.c).
CURL_CFLAGS = $(eval CURL_CFLAGS := $$(shell pkg-config --cflags libcurl))$(CURL_CFLAGS)
# The program contains all of Lua and exports it to the C modules that it loads (lua-cjson, ...);
# lua_load is wrapped by core/bind/host.c, which refuses bytecode.
# The linker of macOS has no --wrap: core/bind/text.c then refuses bytecode as far as it can.
# WRAP= builds like that elsewhere.
ifeq ($(DARWIN),)
WRAP = -Wl,--wrap=lua_load
PROGRAM_LIBS = $(WRAP) -Wl,-E -Wl,--whole-archive $(LUA_STATIC) -Wl,--no-whole-archive $(LIBS) -ldl
MODULE_FLAGS = -shared -Wl,-Bsymbolic
else
PROGRAM_LIBS = -Wl,-export_dynamic $(LUA_DYNAMIC) $(LIBS)
MODULE_FLAGS = -bundle -undefined dynamic_lookup
endif

# ---------------------------------------------------------------------- objects

# Kernels are compiled per instruction set and element type (see core/kernels/simd.h), and once more
# with FM_RULES for the parts that depend on neither: shape and differentiation rules, tables.
ISAS = scalar $(if $(filter x86_64-%,$(MACHINE)),avx2 avx512) \
  $(if $(filter aarch64-% arm64-%,$(MACHINE)),neon)
DTYPES = f32 f64
FLAGS_scalar =
FLAGS_avx2 = -mavx2 -mfma
FLAGS_neon = # part of AArch64
FLAGS_avx512 = -mavx512f -mavx512bw -mavx512vl -mavx512dq -mfma -mprefer-vector-width=512
VARIANTS = $(foreach isa,$(ISAS),$(addprefix $(isa).,$(DTYPES)))

KERNELS = $(wildcard core/ops/*.c core/kernels/*.c)
BINDING = $(filter-out $(HOST),$(wildcard core/bind/*.c))
HOST = core/bind/main.c core/bind/host.c core/bind/text.c
CORE = $(wildcard core/*.c core/io/*.c core/standin/*.c core/program/*.c core/run/*.c)

LIBRARY_OBJECTS = $(CORE:%.c=$B/%.o) \
  $(foreach v,rules $(VARIANTS),$(KERNELS:%.c=$B/%.$v.o))
BINDING_OBJECTS = $(BINDING:%.c=$B/%.o)
HOST_OBJECTS = $(HOST:%.c=$B/%.o)

C_TESTS = $(patsubst %.c,$B/%,$(wildcard tests/c/test_*.c))
C_TESTS_SHARED = $(patsubst %.c,$B/%.o,$(filter-out tests/c/test_%.c,$(wildcard tests/c/*.c)))
FUZZ_SOURCES = $(wildcard tests/fuzz/*.c)
FUZZER = $B/fuzz/fuzz
C_BENCHES = $(patsubst %.c,$B/%,$(wildcard tests/bench/*.c))
LUA_TESTS = $(wildcard tests/lua/test_*.lua)
LUA_BENCHES = $(wildcard tests/bench/*.lua)

# The environment in which a stock lua5.4 finds our sources and our module, and tests the program.
LUA_ENV = LUA_PATH='$(CURDIR)/lua/?.lua;$(CURDIR)/lua/?/init.lua;$(CURDIR)/tests/lua/?.lua;;' \
  LUA_CPATH='$(CURDIR)/$B/?.so;;' FLOWMAP='$(CURDIR)/$(PROGRAM)' FLOWMAP_BUILD='$(CURDIR)/$B' \
  XDG_CACHE_HOME='$(CURDIR)/$B/cache' XDG_DATA_HOME='$(CURDIR)/$B/data' HOME='$(CURDIR)/$B/home'

# ---------------------------------------------------------------------- build

.PHONY: all tools check run-tests test known-tests bench asan run-asan lint lint-sizes lint-format \
  lint-tidy accessibility identity lint-lua regress regress-update regress-mutations \
  regress-rules regress-clean reproduce paper verify doc stage install installcheck uninstall install-rock dist \
  clean help FORCE
.DELETE_ON_ERROR:
.PRECIOUS: $B/%.o

all: $(PROGRAM) $(MODULE) ## build ./flowmap and the Lua module (the default)

$(PROGRAM): $(HOST_OBJECTS) $(BINDING_OBJECTS) $(LIBRARY)
	$(call say,LINK)
	$Q$(CC) $(FLAGS) $(LDFLAGS) $^ $(PROGRAM_LIBS) -o $@

# The module does not contain Lua: its functions come from the program that loads the module.
$(MODULE): $(BINDING_OBJECTS) $(LIBRARY)
	$(call say,LINK)
	$Q$(CC) $(MODULE_FLAGS) $(FLAGS) $(LDFLAGS) $^ $(LIBS) -o $@

# The connection to MPI, for mpirun and srun: one for each MPI whose mpicc is there.
MPICC = $(or $(wildcard /usr/bin/mpicc.openmpi /usr/bin/mpicc.mpich),mpicc)
.PHONY: mpi
mpi: all ## build the connection to MPI, for runs by mpirun or srun
	$Qmkdir -p $B/mpi
	$Qprintf '#include <mpi.h>\n#ifdef OPEN_MPI\nopenmpi\n#else\nmpich\n#endif\n' > $B/mpi/which.c
	$Qfor cc in $(MPICC); do \
	  name=$$($$cc -E -P $B/mpi/which.c | tail -n 1) && \
	  $$cc -std=c11 -O2 -Wall -Wextra -fPIC -shared -fvisibility=hidden core/mpi/shim.c \
	    -o $B/mpi/$$name.so && echo "built $B/mpi/$$name.so" || exit; done

$(LIBRARY): $(LIBRARY_OBJECTS) $B/objects.list
	$(call say,AR)
	$Qrm -f $@ && $(AR) rcs $@ $(LIBRARY_OBJECTS)

$(BINDING_OBJECTS): EXTRA = $(LUA_CFLAGS) -fvisibility=default
$(HOST_OBJECTS): EXTRA = $(LUA_CFLAGS) $(if $(WRAP),,-DFM_NO_WRAP)
$(CORE:%.c=$B/%.o): EXTRA = $(LIB_CFLAGS) $(CURL_CFLAGS)

$B/%.o: %.c $B/flags.list
	$(call say,CC)
	$Q$(CC) $(FLAGS) $(EXTRA) -c $< -o $@

$B/%.rules.o: %.c $B/flags.list
	$(call say,CC)
	$Q$(CC) $(FLAGS) -DFM_RULES -c $< -o $@

define variant
$B/%.$1.$2.o: %.c $B/flags.list
	$$(call say,CC)
	$$Q$$(CC) $$(FLAGS) $$(FLAGS_$1) -DFM_ISA=$1 -DFM_T=$2 -c $$< -o $$@
endef
$(foreach isa,$(ISAS),$(foreach t,$(DTYPES),$(eval $(call variant,$(isa),$t))))
# This kernel has an extra code path for processors with bfloat16 products, chosen at run time.
$B/core/kernels/gemm_bf16.avx512.f32.o: private FLAGS_avx512 += -mavx512bf16
$B/core/kernels/gemm_bf16.neon.f32.o: private FLAGS_neon += -march=armv8.2-a+bf16

$B/tests/%: $B/tests/%.o $(C_TESTS_SHARED) $(LIBRARY)
	$(call say,LINK)
	$Q$(CC) $(FLAGS) $(LDFLAGS) $^ -lcmocka -larchive $(TEST_LIBS) -o $@
TEST_LIBS = $(LIBS)

# The test of the binding has all of Lua, as the program does.
$B/tests/c/test_bind.o: EXTRA = $(LUA_CFLAGS)
$B/tests/c/test_bind: TEST_LIBS = $(LIBRARY) $(if $(DARWIN),$(LUA_DYNAMIC),$(LUA_STATIC)) $(LIBS)
$B/tests/c/test_bind: $(BINDING_OBJECTS)

# Test_work counts what compiling does: the compiler of programs, with a call in each basic block.
COUNTED = $(patsubst %.c,$B/counted/%.o,$(wildcard core/program/*.c))
$(COUNTED): $B/counted/%.o: %.c $B/flags.list
	$(call say,CC)
	$Q$(CC) $(FLAGS) -fsanitize-coverage=trace-pc -c $< -o $@
$B/tests/c/test_work: $B/tests/c/test_work.o $(COUNTED) $(LIBRARY)
	$(call say,LINK)
	$Q$(CC) $(FLAGS) $(LDFLAGS) $^ -lcmocka $(LIBS) -o $@

# Compiler flags and lists of objects: a change of their contents causes a rebuild.
$B/flags.list: CONTENTS = $(CC) $(FLAGS) $(LDFLAGS) $(foreach isa,$(ISAS),$(FLAGS_$(isa)))
$B/objects.list: CONTENTS = $(LIBRARY_OBJECTS)
$B/%.list: FORCE | tools
	@mkdir -p $(@D)
	@echo '$(CONTENTS)' | cmp -s - $@ || echo '$(CONTENTS)' > $@

# Checked once, before anything is compiled, so that a missing tool is reported once.
tools:
	@command -v $(firstword $(CC)) >/dev/null || { \
	  echo "flowmap: no C compiler '$(firstword $(CC))' found; run .ci/deps.sh" >&2; exit 2; }
	@pkg-config --exists lua5.4 $(LIBRARIES) 2>/dev/null || { \
	  echo "flowmap: pkg-config or one of lua5.4 $(LIBRARIES) not found; run .ci/deps.sh" >&2; \
	  exit 2; }

# Also creates the target's folder.
say = @mkdir -p $(@D); $(if $V,,printf '  %-5s %s\n' '$1' '$@')

-include $(patsubst %.o,%.d,$(LIBRARY_OBJECTS) $(BINDING_OBJECTS) $(HOST_OBJECTS) \
  $(C_TESTS:=.o) $(C_TESTS_SHARED) $(C_BENCHES:=.o) $(COUNTED))

# ---------------------------------------------------------------------- test

check: ## run all tests, after installing missing packages
	@.ci/deps.sh
	@$(MAKE) run-tests

# With an MPI installed, ranks are tested too.
run-tests: all $(FUZZER) $(if $(wildcard /usr/bin/mpicc*),mpi) $(C_TESTS) $(C_BENCHES)
	@$(LUA_ENV) tests/run.sh $(C_TESTS) './$(PROGRAM) gradcheck' $(LUA_TESTS:%='lua5.4 %')

# The tests of the names in T: tests/c/test_NAME.c, tests/lua/test_NAME.lua, or both.
CHOSEN_C = $(patsubst %.c,$B/%,$(wildcard $(T:%=tests/c/test_%.c)))
CHOSEN_LUA = $(wildcard $(T:%=tests/lua/test_%.lua))
UNKNOWN = $(foreach t,$T,$(if $(wildcard tests/*/test_$t.c tests/*/test_$t.lua),,"$t"))
test: known-tests all $(CHOSEN_C) ## run some tests: make test T="losses ops"
	@$(LUA_ENV) tests/run.sh $(CHOSEN_C) $(CHOSEN_LUA:%='lua5.4 %')

# By the environment: the shell would read quotes in a name as its own.
known-tests: export NO_TEST = $(strip $(UNKNOWN))
known-tests:
	@$(if $(strip $T),,echo 'flowmap: test: T names no test: make test T="losses ops"' >&2; exit 2)
	@[ -z "$$NO_TEST" ] || { echo "flowmap: test: no test has the name $$NO_TEST" >&2; exit 2; }

.PHONY: check-arm check-musl
check-arm: ## build for Arm by a cross compiler and run tests of the kernels under qemu
	@.ci/arm.sh

check-musl: ## build with musl in place of glibc; derivatives and short trainings
	@.ci/musl.sh

bench: all $(C_BENCHES) ## measure speed and memory (tests/bench)
	@set -e; for b in $(C_BENCHES) $(LUA_BENCHES:%='lua5.4 %'); do \
	  echo "== $$b"; env $(LUA_ENV) $$b; done

asan: ## C tests, gradcheck and smoke runs under AddressSanitizer and UBSan
	@$(MAKE) run-asan B=build/asan PROGRAM=build/asan/flowmap \
	  CFLAGS='-O1 -g' SANITIZE='-fsanitize=address,undefined -fno-sanitize-recover=all \
	  -fno-omit-frame-pointer'

run-asan: $(PROGRAM) $(C_TESTS)
	@ln -sfn ../../lua ../../paper $B/
	@tests/run.sh $(C_TESTS) './$(PROGRAM) gradcheck'
	rm -rf $B/smoke
	for e in checkerboard cifar10; do \
	  ./$(PROGRAM) run experiments/$$e.lua --profile smoke --out $B/smoke/$$e || exit; done

.PHONY: tsan run-tsan
tsan: ## C tests and the program for the part `threads` of make soak, under ThreadSanitizer
	@$(MAKE) run-tsan B=$B/tsan PROGRAM=$B/tsan/flowmap CFLAGS='-O1 -g' SANITIZE=-fsanitize=thread

run-tsan: $(PROGRAM) $(patsubst %,$B/tests/c/test_%,micro program memory images intake sums)
	@ln -sfn ../../lua ../../paper $B/

# Readers of files from elsewhere for a fuzzer: libFuzzer with sanitizers where there is a clang that
# has it, else a driver that damages files at random.
CLANG = $(firstword $(foreach c,clang clang-19 clang-16 clang-14,$(shell command -v $c 2>/dev/null)))
.PHONY: fuzz run-fuzz
fuzz: ## build the fuzz targets (tests/fuzz): libFuzzer and sanitizers if there is clang
	@if [ -n "$(CLANG)" ]; then $(MAKE) run-fuzz B=$B/libfuzzer CC='$(CLANG)' CFLAGS='-O1 -g' \
	    SANITIZE='-fsanitize=fuzzer-no-link,address,undefined -fno-sanitize-recover=all \
	    -fno-omit-frame-pointer -DLIBFUZZER' ENGINE=-fsanitize=fuzzer; \
	  else $(MAKE) run-fuzz; fi

run-fuzz: $(FUZZER)
$B/tests/fuzz/lua.o: EXTRA = $(LUA_CFLAGS)
$(FUZZER): $(patsubst %.c,$B/%.o,$(filter-out $(if $(ENGINE),%/driver.c),$(FUZZ_SOURCES))) \
  $(filter-out $B/core/bind/main.o $B/core/bind/host.o,$(BINDING_OBJECTS)) $(LIBRARY)
	$(call say,LINK)
	$Q$(CC) $(FLAGS) $(ENGINE) $(LDFLAGS) $^ $(filter-out -Wl$(comma)--wrap=lua_load,$(PROGRAM_LIBS)) -o $@

.PHONY: soak
soak: all $(if $(PARTS),$(filter fuzz,$(PARTS)),fuzz) ## fail memory, calls, files, processes: MINUTES=60 PARTS="alloc calls" SEED=1 POINT=...
	@MINUTES='$(MINUTES)' PARTS='$(PARTS)' SEED='$(SEED)' POINT='$(POINT)' CC='$(CC)' \
	  FLOWMAP='$(CURDIR)/$(PROGRAM)' nice -n 19 ./$(PROGRAM) lua tests/soak/soak.lua

# Linters that are not installed are skipped.
C_SOURCES = $(wildcard core/*.[ch] core/*/*.[ch] tests/c/*.[ch] tests/bench/*.c \
  tests/fuzz/*.[ch] tests/soak/*.c)
have = command -v $1 >/dev/null || { echo "$1 is not installed, left out"; exit 0; };
TIDY = clang-tidy --quiet --warnings-as-errors='*'
lint: lint-sizes lint-prose lint-format lint-tidy lint-lua ## clang-format, clang-tidy, luacheck, lengths of lines and functions, typed numbers

lint-sizes:
	@.ci/sizes.sh $(C_SOURCES) $(shell find lua experiments tests -name '*.lua')
.PHONY: lint-prose
lint-prose: ## measured numbers that are typed in chapters, README.md and RESULTS.md
	@$(call have,lua5.4) LUA_PATH='lua/?.lua;;' lua5.4 .ci/prose.lua experiments/*.lua paper/*.md \
	  README.md RESULTS.md
lint-format:
	@$(call have,clang-format) clang-format --dry-run -Werror $(C_SOURCES)
# Each file for itself, so that one sees how far it is, and the findings of all: it takes long.
TIDY_KINDS = $(addsuffix .tidy,$(CORE) $(BINDING) $(HOST)) \
  $(foreach kind,rules scalar,$(KERNELS:=.$(kind)-tidy))
lint-tidy:
	@$(call have,clang-tidy) echo 'flowmap: lint-tidy: $(words $(TIDY_KINDS)) files' && \
	$(MAKE) -k run-tidy
.PHONY: run-tidy $(TIDY_KINDS)
run-tidy: $(TIDY_KINDS)
tidy = @printf '  %-5s %s\n' TIDY '$@'; $(TIDY) $< -- $(FLAGS)
$(filter %.tidy,$(TIDY_KINDS)): %.tidy: %
	$(tidy) $(LUA_CFLAGS) $(LIB_CFLAGS)
$(filter %.rules-tidy,$(TIDY_KINDS)): %.rules-tidy: %
	$(tidy) -DFM_RULES
$(filter %.scalar-tidy,$(TIDY_KINDS)): %.scalar-tidy: %
	$(tidy) -DFM_ISA=scalar -DFM_T=f32
lint-lua:
	@$(call have,luacheck) luacheck --quiet lua experiments tests

# Bits depend on the BLAS kernels; all x86-64 processors have these. The reason is passed by the
# environment, because the shell would read quotes in it as its own.
REGRESS = $(if $(filter x86_64-%,$(MACHINE)),OPENBLAS_CORETYPE=Prescott) \
  ./$(PROGRAM) lua tests/regression

regress: all ## notice regressions of bits, traces, quality, speed, memory (CHANGED=accept)
	@$(REGRESS)/gate.lua -- $(if $(filter accept,$(CHANGED)),--accept-changed)

regress-update: export REASON = $(WHY)
regress-update: all ## renew the baselines of regress: WHY="reason"
	@$(REGRESS)/gate.lua -- --update "$$REASON"

regress-mutations: all ## plant faults in a copy and see which tier catches them
	@$(REGRESS)/mutations/run.lua

regress-rules: all ## plant errors in derivative rules, see which test notices: COUNT=20 SEED=1 OPS="conv mix"
	@$(REGRESS)/mutations/rules.lua $(or $(COUNT),20) $(or $(SEED),1) $(OPS)

regress-clean: all ## judge 40 trainings of unchanged code, which must raise no alarm
	@$(REGRESS)/clean.lua

accessibility: ## judge the woven page by axe-core in headless Chromium; PAGE=file AXE=axe.min.js
	@$(LUA_ENV) lua5.4 tests/page/accessibility.lua $(PAGE)

identity: all ## the smoke profile twice, by another user in other places: the same bytes?
	@$(LUA_ENV) tests/page/identity.sh '$(CURDIR)/$(PROGRAM)' $(FOLDERS)

# ---------------------------------------------------------------------- use

reproduce: ## train, tabulate and draw; PROFILE=laptop SEEDS=4,5 J=jobs
	@.ci/deps.sh
	@$(MAKE) all
	./$(PROGRAM) reproduce --profile $(PROFILE) $(if $(SEEDS),--seeds $(SEEDS)) \
	  $(if $J,--jobs $J)

paper: all ## weave page and PDF (paper/build); RESULTS=paper/results/long: from published sets
	./$(PROGRAM) paper --pdf $(if $(RESULTS),--results "$(RESULTS)",--profile $(PROFILE))

.PHONY: readme
readme: all ## weave README.md and RESULTS.md from the committed results
	./$(PROGRAM) lua paper/readme.lua

# PROFILE has a default for `reproduce`; here only one that was given counts.
GIVEN = $(filter command,$(firstword $(origin PROFILE)))
verify: all ## make published runs again and compare: EXPERIMENT=name PROFILE= SEED= METHODS= RUNS=
	./$(PROGRAM) verify $(EXPERIMENT) $(if $(GIVEN),--profile $(PROFILE)) $(if $(SEED),--seed $(SEED)) \
	  $(if $(METHODS),--methods $(METHODS)) $(if $(RUNS),--runs $(RUNS)) $(if $J,--jobs $J)

# Everything that is installed, at its place below PREFIX. Manual page and completions are generated
# by the program.
STAGE = $B/stage
SHARE = $(STAGE)/share
RUN = $(if $(filter /%,$(PROGRAM)),,./)$(PROGRAM)
stage: all
	@rm -rf $(STAGE)
	@mkdir -p $(SHARE)/flowmap $(SHARE)/lua/5.4 $(SHARE)/doc/flowmap $(SHARE)/man/man1 \
	  $(SHARE)/bash-completion/completions $(SHARE)/zsh/site-functions
	@mkdir -p $(STAGE)/bin $(STAGE)/lib/lua/5.4/flowmap
	@install $(PROGRAM) $(STAGE)/bin/flowmap
	@install $(MODULE) $(STAGE)/lib/lua/5.4/flowmap/core.so
	@cp -R lua experiments paper $(SHARE)/flowmap/ && rm -rf $(SHARE)/flowmap/paper/build
	@ln -s ../../flowmap/lua/flowmap $(SHARE)/lua/5.4/flowmap
	@cp $(wildcard *.md) LICENSE CITATION.cff $(SHARE)/doc/flowmap/
	@$(RUN) manual >$(SHARE)/man/man1/flowmap.1
	@$(RUN) completion bash >$(SHARE)/bash-completion/completions/flowmap
	@$(RUN) completion zsh >$(SHARE)/zsh/site-functions/_flowmap

# LDoc is needed for this alone: it is not among the packages of .ci/packages.txt.
doc: all ## the reference of all functions, by LDoc (build/reference)
	@command -v ldoc >/dev/null || { \
	  echo "flowmap: doc: it needs LDoc (Debian: lua-ldoc)" >&2; exit 2; }
	@rm -rf $B/reference $B/reference-source && mkdir -p $B
	@$(RUN) lua paper/reference/stubs.lua $B/reference-source
	@ldoc -q -c paper/reference/config.ld -l paper/reference -s paper/reference \
	  -d $B/reference $B/reference-source >$B/ldoc.log 2>&1 || { cat $B/ldoc.log; exit 1; }
	@grep -v '^reading configuration' $B/ldoc.log || :
	@echo "written: $B/reference/index.html"

# One word of a shell, whatever is in it: DESTDIR and PREFIX may contain spaces and quotes.
quoted = '$(subst ','\'',$(1))'
TO = $(call quoted,$(DESTDIR)$(PREFIX))
install: stage ## install under PREFIX (default /usr/local); DESTDIR for packagers
	.ci/installed.sh install $(STAGE) $(TO)

installcheck: ## try the installed program in an empty folder: info, a smoke run, the page
	@.ci/installcheck.sh $(TO)

uninstall: ## remove what was installed, and nothing else
	.ci/installed.sh uninstall $(TO)

# For LuaRocks, which fills in PREFIX, LUADIR, LIBDIR and BINDIR. The program finds its files in the
# rock's own folder; the modules of a stock Lua find it by the file root.txt.
SUITE = $(PREFIX)/suite
in = $(call quoted,$($(1))$(2))
install-rock: stage
	@mkdir -p $(call in,SUITE) $(call in,LUADIR) $(call in,LIBDIR,/flowmap) $(call in,BINDIR)
	cp -R $(STAGE)/bin $(STAGE)/share $(call in,SUITE,/)
	cp -R lua/flowmap $(call in,LUADIR,/)
	printf '%s\n' $(call in,SUITE,/share/flowmap) >$(call in,LUADIR,/flowmap/base/root.txt)
	cp $(MODULE) $(call in,LIBDIR,/flowmap/)
	printf '#!/bin/sh\nexec %s "$$@"\n' $(call quoted,$(call in,SUITE,/bin/flowmap)) \
	  >$(call in,BINDIR,/flowmap)
	chmod +x $(call in,BINDIR,/flowmap)

# The same commit gives the same bytes: times are the commit's, the order is git's.
VERSION = $(shell sed -n 's/^.define FM_VERSION "\(.*\)"/\1/p' core/fm.h)
DIST = flowmap-$(VERSION)
dist: ## build/flowmap-VERSION.tar.gz of the committed sources, with the same bytes everywhere
	@git ls-files --error-unmatch core/fm.h >/dev/null 2>&1 || { \
	  echo "flowmap: dist: this is not a git working copy; an archive is made from one" >&2; exit 2; }
	@git diff --quiet HEAD || echo "flowmap: dist: uncommitted changes are left out" >&2
	@mkdir -p $B
	git -c tar.umask=0022 archive --prefix=$(DIST)/ HEAD >$B/$(DIST).tar
	@gzip -9n <$B/$(DIST).tar >$B/$(DIST).tar.gz && rm $B/$(DIST).tar
	@cd $B && { sha256sum $(DIST).tar.gz 2>/dev/null || shasum -a 256 $(DIST).tar.gz; }

# Runs of verify and the state of soak took hours, and go on where they stopped.
KEPT = verify soak
clean: ## remove all build products; results are kept, as are runs of verify
	@[ ! -d $B ] || find $B -mindepth 1 -maxdepth 1 $(KEPT:%=! -name %) -exec rm -rf {} +
	rm -rf paper/build $(PROGRAM)
	@for kept in $(addprefix $B/,$(KEPT)); do [ ! -d $$kept ] || echo "kept: $$kept"; done
	@rmdir $B 2>/dev/null || :

help: ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-17s %s\n", $$1, $$2 }' Makefile
