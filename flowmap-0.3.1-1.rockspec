-- LuaRocks: `luarocks make` in this folder builds the program and the Lua module from its sources.
-- The C libraries and tools of .ci/packages.txt must be installed; `make` names a missing one.
rockspec_format = "3.0"
package = "flowmap"
version = "0.3.1-1"
source = { url = "file://flowmap-0.3.1.tar.gz" } -- made by `make dist`
description = {
  summary = "Flow maps by self-distillation: train, sample, compare",
  detailed = [[
    A numerical core in C with forward and reverse differentiation, a suite of literate experiments
    in Lua that reproduces "How to build a consistency model: Learning flow maps via
    self-distillation" (arXiv:2505.18825), and a program that runs them.]],
  license = "MIT",
  labels = { "machine-learning", "numerics" },
}
supported_platforms = { "linux" }
dependencies = { "lua ~> 5.4", "argparse ~> 0.7", "lua-cjson ~> 2.1", "luafilesystem ~> 1.8",
  "luv >= 1.36" }
build = {
  type = "make",
  build_target = "all",
  install_target = "install-rock",
  install_variables = { PREFIX = "$(PREFIX)", LUADIR = "$(LUADIR)", LIBDIR = "$(LIBDIR)",
    BINDIR = "$(BINDIR)" },
}
deploy = { wrap_bin_scripts = false }
