-- The version stands in core/fm.h; the changelog and the citation name the same.

local t = require "harness"
local files = require "flowmap.base.files"
local fm = require "flowmap"

local version = fm.info().version

t.test("CHANGELOG.md and CITATION.cff name the version of core/fm.h", function()
  t.eq(files.read "core/fm.h":match '#define FM_VERSION "([^"]+)"', version, "core/fm.h")
  t.eq(files.read "CHANGELOG.md":match "\n## ([%d.]+)", version, "CHANGELOG.md")
  t.eq(files.read "CITATION.cff":match "\nversion: ([%d.]+)\n", version, "CITATION.cff")
end)

t.done()
