--- Parts of the book that come from the documents beside it: the glossary of ARCHITECTURE.md and
-- the citations of CITATION.cff, so that each has one source. In prose, on a line of its own:
--
--     {{glossary}}      the terms of the code
--     {{citation}}      how to cite the suite and the paper, as BibTeX
-- @module flowmap.report.document

local errors = require "flowmap.base.errors"
local files = require "flowmap.base.files"
local results = require "flowmap.report.results"

local M = {}

-- A document of the repository; an installed suite keeps them with its documentation.
local function read(name)
  local path = files.installed(name)
  if not files.exists(path) then path = files.installed("../doc/flowmap/" .. name) end
  return results.read_file(path)
end

-- ------------------------------------------------------------------ glossary

--- The glossary, a table in Markdown.
-- @treturn string
function M.glossary()
  local section = ("\n" .. read "ARCHITECTURE.md"):match "\n## Glossary\n(.*)$"
  local lines = {}
  for line in (section or ""):gmatch "[^\n]+" do
    if line:find "^## " then break end
    if line:find "^|" then lines[#lines + 1] = line end
  end
  if #lines < 3 then errors.data "ARCHITECTURE.md has no table under the heading 'Glossary'" end
  lines[2] = "|:-----|:---------------|" -- relative widths
  return "\n" .. table.concat(lines, "\n") .. "\n"
end

-- ------------------------------------------------------------------ citation

-- The value of a key of CITATION.cff at an indentation, without its quotes; nil if there is none.
local function value_of(text, key, indent)
  local value = ("\n" .. text):match("\n" .. (" "):rep(indent) .. key .. ": *([^\n]+)")
  return value and value:gsub('^"(.*)"$', "%1")
end

--- The suite itself.
-- @treturn table { title =, version =, license =, authors = }
function M.software()
  local text = read "CITATION.cff"
  local out = { authors = text:match "\nauthors:\n%s+%- name: ([^\n]+)" }
  for _, key in ipairs { "title", "version", "license" } do out[key] = value_of(text, key, 0) end
  for _, key in ipairs { "title", "version", "license", "authors" } do
    if not out[key] then errors.data("CITATION.cff has no field '%s'", key) end
  end
  return out
end

-- The paper that the suite reproduces.
local function paper()
  local text = read "CITATION.cff":match "\npreferred%-citation:\n(.*)$" or ""
  local authors = {}
  for family, given in text:gmatch "family%-names: ([^\n]+)\n%s+given%-names: ([^\n]+)" do
    authors[#authors + 1] = family .. ", " .. given
  end
  return { authors = table.concat(authors, " and "), title = value_of(text, "title", 2),
    where = value_of(text, "collection%-title", 2), year = value_of(text, "year", 2),
    url = value_of(text, "url", 2) }
end

--- How to cite, as BibTeX.
-- @treturn string Markdown
function M.citation()
  local suite, of = M.software(), paper()
  return ([[

```bibtex
@inproceedings{boffi2025,
  author    = {%s},
  title     = {%s},
  booktitle = {%s},
  year      = {%s},
  url       = {%s}
}

@misc{flowmap,
  author    = {{%s}},
  title     = {%s},
  note      = {Version %s, licence %s}
}
```
]]):format(of.authors, of.title, of.where, of.year, of.url, suite.authors, suite.title,
    suite.version, suite.license)
end

return M
