--- Bare numbers in prose. A number that was measured is looked up in the results when a page is
-- woven, `{{kl.LSD.N1 %.3f}}`; typed by hand it goes stale. This module finds the numbers of a text
-- that are typed. These kinds may be:
--
-- 1. what is not text: code, formulas (except one that is only a number), headings, targets of
--    links, citations, comments, and parts woven by flowmap.report.readme;
-- 2. counting numbers up to 16 without a unit, and years;
-- 3. settings: numbers that stand in the code of the same file;
-- 4. sizes, 64 × 64; conventions of statistics (95 %, the level 0.05, the 99 % quantile); steps
--    and seeds that select what is shown (N = 4, seeds 11, 12 and 13);
-- 5. parts of names (CIFAR-10, Lua 5.4) and numbers of sections, equations, tables and the like.
--
-- All others are looked up: measured values, settings of other files as the runs had them
-- (`{{config.LSD.batch}}`), what a publication states (`{{published. ...}}`, paper/published.lua).
-- @module flowmap.report.prose

local literate = require "flowmap.report.literate"

local M = {}

local COUNTING = 16

-- Words behind which a number is part of a name or the number of a part.
local NAMES = {}
local names = [[Section Sections Chapter Equation Equations Table Tables Figure Figures Appendix
  Theorem Proposition Lemma Algorithm Lua Debian Python PyTorch JAX Zen version Version arXiv
  NeurIPS ICLR ICML CVPR LAPACK Gaussian seed seeds profile]]
for word in names:gmatch "%S+" do NAMES[word] = true end

-- Words and signs behind a number that make it a quantity.
local UNITS = {}
local units = [[% × x times percent seconds second s ms minutes minute min hours hour h days GB MB
  KB GiB MiB KiB GFLOP GFLOPS fold standard decades orders points thousand million billion]]
for word in units:gmatch "%S+" do UNITS[word] = true end

-- ------------------------------------------------------------------ what is not prose

local function blank(text) return (text:gsub("[^\n]", " ")) end

-- A formula that is only a number, perhaps with a sign or a power of ten, is prose; a size such as
-- 3 \times 3 is not.
local function formula(marks)
  return function(text)
    local inside = text:sub(#marks + 1, -#marks - 1)
    local bare = inside:gsub("\\[,;!: %%]", " ")
    for _, word in ipairs { "cdot", "approx", "sim", "pm", "le", "ge", "times" } do
      bare = bare:gsub("\\" .. word .. "%f[%A]", " ")
    end
    local is_size = inside:find "\\times" and not inside:find "[.^]"
    if is_size or not bare:find "%d" or bare:find "[%a\\|/]" then return blank(text) end
    return (" "):rep(#marks) .. inside .. (" "):rep(#marks)
  end
end

-- Lines that are headings or indented code become blank.
local function without_lines(text)
  return (text:gsub("[^\n]+", function(line)
    local is_code = line:find "^    " and not line:find "^%s+[-*%d]"
    return (line:find "^#+ " or is_code) and blank(line) or nil
  end))
end

--- A text in which all that is not prose is blank; lines and columns stay.
-- @tparam string text
-- @treturn string
function M.masked(text)
  text = text:gsub("<!%-%- woven from .-<!%-%- woven %-%->", blank):gsub("<!%-%-.-%-%->", blank)
  text = text:gsub("%f[^\n\0]```.-\n```", blank)
  text = text:gsub("%$%$.-%$%$", formula "$$") -- its lines may be indented
  text = without_lines(text):gsub("{{.-}}", blank):gsub("``.-``", blank)
  text = text:gsub("`.-`", blank):gsub("%$[^$]+%$", formula "$")
  text = text:gsub("%]%(<.->%)", blank):gsub("%]%(.-%)", blank):gsub("{[#.].-}", blank)
  text = text:gsub("https?://%S+", blank):gsub("%[[^%[%]]*@.-%]", blank)
  return (text:gsub("@%a[%w:/_-]*", blank))
end

-- ------------------------------------------------------------------ the kinds

--- The numbers in code, as settings that prose may repeat.
-- @tparam string code
-- @treturn table number -> true
function M.settings(code)
  local known = {}
  for text in code:gmatch "%f[%w.]%d[%w.]*[-+]?%d*" do
    local value = tonumber(text) or tonumber(text:match "^[%d.]+")
    if value then known[value] = true end
    local whole = tonumber(text:match "^%d+")
    if whole and not text:find "[.e]" then known[whole] = true end
  end
  return known
end

-- Whether a number belongs to the list behind a name: "seeds 11, 12 and 13".
local function follows_name(before)
  local words = before:gsub("[%d,.]+%s+and%s+$", ""):gsub("[%d,.%s]+$", " ")
  words = words:gsub("[%d,.]+%s+to%s+$", "")
  local name = words:match "(%a+)[%s\u{a0}]*$"
  return name ~= nil and NAMES[name] == true
end

local function permitted(digits, before, after, known)
  local value = tonumber((digits:gsub(",", "")))
  after = after:gsub("^\u{a0}", " ")
  local unit = after:match "^%s*(%%)" or after:match "^%-?(%a+)" or after:match "^ ?(×)"
    or after:match "^%s+(%a+)"
  local quantity = UNITS[unit] or before:find "±%s*$"
  if before:find "[%a_]$" or before:find "[%a][-–/.]$" then return true end
  if before:find "level%s+$" or before:find "level of%s+$" then return true end
  if unit == "%" then
    return digits == "95" or known[value / 100] == true or after:find "^%s*%%%s+quantile" ~= nil
  end
  for _, sign in ipairs { "×", "x" } do
    if before:find("%d%s*" .. sign .. "%s*$") or after:find("^%s*" .. sign .. "%s*%d") then
      return true
    end
  end
  if known[value] and not before:find "±%s*$" then return true end
  if quantity then return false end
  if before:find "N%s*=%s*$" or follows_name(before) then return true end
  if math.type(value) ~= "integer" then return false end
  return value <= COUNTING or (value >= 1900 and value < 2100 and not digits:find ",")
end

-- ------------------------------------------------------------------ finding

local function scan(text, known, first, found)
  local at = 1
  while true do
    local from, to = text:find("%d[%d,.]*", at)
    if not from then return end
    local digits = text:sub(from, to):gsub("[,.]+$", "")
    digits = digits .. (text:match("^[eE][-+]?%d+", from + #digits) or "")
    to = from + #digits - 1
    if not permitted(digits, text:sub(1, from - 1), text:sub(to + 1), known) then
      local line = select(2, text:sub(1, from):gsub("\n", ""))
      found[#found + 1] = { line = first + line, number = digits,
        text = (text:sub(math.max(1, from - 30), to + 25):gsub("%s+", " ")) }
    end
    at = to + 1
  end
end

--- The bare numbers of a file.
-- @tparam string source
-- @tparam string path ending in .lua (literate Lua) or .md
-- @treturn {table,...} { line =, number =, text = what stands around it }
function M.find(source, path)
  local found, markdown = {}, path:find "%.md$" ~= nil
  local blocks, code = markdown and literate.markdown(source) or literate.split(source), {}
  for _, block in ipairs(blocks) do
    if block.kind == "code" then code[#code + 1] = table.concat(block, "\n") end
  end
  if markdown then
    for fence in source:gmatch "\n```.-\n```" do code[#code + 1] = fence end
  end
  local known = M.settings(table.concat(code, "\n"))
  for _, block in ipairs(blocks) do
    if block.kind == "prose" then
      scan(M.masked(table.concat(block, "\n")), known, block.first, found)
    end
  end
  return found
end

--- The sentences about the bare numbers of some files, for the linter.
-- @tparam {string,...} paths
-- @treturn {string,...} "PATH:LINE: ..."
function M.check(paths)
  local out = {}
  for _, path in ipairs(paths) do
    local file <close> = assert(io.open(path, "rb"))
    for _, it in ipairs(M.find(file:read "a", path)) do
      out[#out + 1] = ("%s:%d: the number %s is typed, in '%s': look it up (see %s)"):format(path,
        it.line, it.number, it.text, "lua/flowmap/report/prose.lua")
    end
  end
  return out
end

return M
