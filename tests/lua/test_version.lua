-- The version stands in core/fm.h; the changelog and the citation name the same.

local t = require "harness"
local files = require "flowmap.base.files"
local fm = require "flowmap"

local version = fm.info().version

t.test("CHANGELOG.md and CITATION.cff name the version of core/fm.h", function()
  t.eq(files.read "core/fm.h":match '#define FM_VERSION "([^"]+)"', version)
  t.eq(files.read "CHANGELOG.md":match "\n## ([%d.]+)", version)
  t.eq(files.read "CITATION.cff":match "\nversion: ([%d.]+)\n", version)
end)

t.done()
