--- Literate sources: splits an experiment into prose and code (flowmap.report.weave describes the
-- format).
-- @module flowmap.report.literate

local M = {}

-- The lines of a text, without line ends.
local function lines_of(text)
  local lines = {}
  for line in (text:gsub("\r\n", "\n") .. "\n"):gmatch("([^\n]*)\n") do lines[#lines + 1] = line end
  if lines[#lines] == "" then lines[#lines] = nil end
  return lines
end

-- The text of a prose line; nil for any other line.
local function prose_text(line)
  return line:match("^%-%-%-? (.*)$") or line:match("^%-%-%-?$") and ""
end

local function is_prose(lines, first, last)
  for i = first, last do
    if not prose_text(lines[i]) then return false end
  end
  return true
end

--- Split Lua source into blocks of prose and code.
-- @tparam string source
-- @treturn {table,...} {kind="prose"|"code", first= (line number), [1..]= lines}; prose has no
--   comment marks; adjacent code forms one block without leading and trailing blank lines
function M.split(source)
  local lines, blocks, i = lines_of(source), {}, 1
  while i <= #lines do
    while i <= #lines and not lines[i]:find("%S") do i = i + 1 end
    local first = i
    while i <= #lines and lines[i]:find("%S") do i = i + 1 end
    if first == i then break end
    local kind, block = is_prose(lines, first, i - 1) and "prose" or "code", blocks[#blocks]
    if kind == "code" and block and block.kind == "code" then
      for _ = block.first + #block, first - 1 do block[#block + 1] = "" end
    else
      block = { kind = kind, first = first }
      blocks[#blocks + 1] = block
    end
    for k = first, i - 1 do
      local text = kind == "prose" and prose_text(lines[k]) or lines[k]
      block[#block + 1] = text:find("^luacheck:") and "" or text
    end
  end
  return blocks
end

--- The one block of a chapter in Markdown, in the form of `split`.
-- @tparam string source
-- @treturn {table,...}
function M.markdown(source)
  local block = lines_of(source)
  block.kind, block.first = "prose", 1
  return { block }
end

return M
