--- Formulas in the prose of a chapter. pandoc takes $...$ for a formula only if there is no blank
-- behind the first sign or before the second one, and no digit behind that; otherwise it shows the
-- text as it is typed, without a warning.
-- @module flowmap.report.formulas

local errors = require "flowmap.base.errors"

local M = {}

local function blank(text) return (text:gsub("[^\n]", "_")) end

-- The text without code, lookups and displayed formulas, whose dollar signs are of no concern.
local function masked(text)
  text = text:gsub("%f[^\n\0]```.-\n```", blank):gsub("{{.-}}", blank):gsub("``.-``", blank)
  return (text:gsub("`.-`", blank):gsub("\\%$", blank):gsub("%$%$.-%$%$", blank))
end

--- Raise an error if a formula of a block of prose would be shown as it is typed.
-- @tparam {string,...} block lines, with `first`, the number of the first one
-- @tparam string path of the chapter
function M.check(block, path)
  local text = masked(table.concat(block, "\n"))
  for from, inside, after in text:gmatch "()%$([^$]+)%$(.?)" do
    if inside:find "^%s" or inside:find "%s$" or after:find "%d" then
      local line = block.first + select(2, text:sub(1, from):gsub("\n", ""))
      errors.data("%s:%d: $%s$%s is not a formula for pandoc: there must be no blank inside of the "
        .. "dollar signs and no digit behind them; \\$ is a dollar sign", path, line,
        inside:gsub("%s+", " "), after:gsub("%s", ""))
    end
  end
end

return M
