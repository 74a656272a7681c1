--- The public functions of the library with their descriptions, and the sources that LDoc reads of
-- them: one file per module with its comments and the heads of its functions, so that functions of
-- C, functions made by other functions, and plain ones are documented alike.
-- @module flowmap.app.reference

local core = require "flowmap.core"
local core_functions = require "flowmap.app.core_functions"
local described = require "flowmap.app.described"
local examples = require "flowmap.app.examples"
local files = require "flowmap.base.files"
local modules = require "flowmap.base.modules"
local operations = require "flowmap.app.operations"
local tree = require "flowmap.tree"

local M = {}

-- ------------------------------------------------------------------ what there is

-- Names and files of the modules below a folder of lua/, e.g. "flowmap.measure.stats".
local function all_modules()
  local root, list = files.installed "lua/", {}
  for _, path in ipairs(files.below(root .. "flowmap")) do
    local inside = path:match "^(.*)%.lua$"
    local name = inside and ("flowmap." .. inside:gsub("/", "."):gsub("%.init$", ""))
    if inside == "init" then name = "flowmap" end
    if name then list[#list + 1] = { name = name, path = root .. "flowmap/" .. path } end
  end
  table.sort(list, function(a, b) return a.name < b.name end)
  return list
end

local function place_of(path, line) return ("%s:%d"):format(path:match "lua/flowmap/.*$", line) end

-- The comment lines at the head of a file.
local function head_of(lines)
  local comment = {}
  for _, line in ipairs(lines) do
    if not line:find "^%-%-" then break end
    comment[#comment + 1] = line
  end
  return comment
end

-- The functions of a class of a module: `function Name:method(...)` with a comment above.
local function methods_of(module, lines)
  local list, comment = {}, {}
  for number, line in ipairs(lines) do
    local class, mark, name, arguments = line:match "^function ([%w_]+)([.:])([%w_]+)%((.-)%)"
    if class and class ~= "M" and #comment > 0 then
      list[#list + 1] = { name = class .. mark .. name, arguments = arguments, comment = comment,
        call = ("%s%s%s(%s)"):format(class, mark, name, arguments),
        place = place_of(module.path, number) }
    end
    if line:find "^%-%-%-" and not line:find "^%-%-%-%-" then
      comment = { line }
    elseif line:find "^%-%-" and #comment > 0 then
      comment[#comment + 1] = line
    else
      comment = {}
    end
  end
  return list
end

-- How a module is reached: "fm.losses", or by require.
local function access(name)
  local short = modules.short(name)
  return short and not short:find(".", 1, true) and "fm." .. short or nil
end

-- Whether a function is also one of `fm` itself, where it is documented.
local function is_in_fm(name, f)
  local there = core[name]
  return type(there) == "function" and described.original(there) == described.original(f)
end

local function add_functions(module, it)
  local prefix = access(module.name) or module.name:match "[^.]+$"
  for _, name in ipairs(tree.keys(it)) do
    local f = it[name]
    if type(name) == "string" and type(f) == "function" then
      local comment, at = described.comment(f, name)
      if at.source:sub(2) == module.path and not is_in_fm(name, f) then
        local arguments = described.arguments(described.original(f))
        module.items[#module.items + 1] = { name = name, arguments = arguments, comment = comment,
          call = ("%s.%s(%s)"):format(prefix, name, arguments),
          place = place_of(module.path, at.linedefined) }
      else
        module.also[#module.also + 1] = name
      end
    end
  end
end

local function core_item(name, arguments, text, section)
  return { name = name, arguments = "", call = "fm." .. name .. arguments, section = section,
    comment = { "--- " .. text }, example = examples.text[name] }
end

-- A function of `fm` that is written in Lua.
local function lua_item(name, section)
  local comment, at = described.comment(core[name])
  local arguments = described.arguments(described.original(core[name]))
  return { name = name, arguments = arguments, comment = comment, example = examples.text[name],
    call = ("fm.%s(%s)"):format(name, arguments), section = section,
    place = at.what ~= "C" and place_of(at.source, at.linedefined) or nil }
end

-- The functions of `fm` itself: the operations, then other functions of Lua, then those of C.
local function add_fm(module)
  local items, seen = module.items, {}
  local function add(item) items[#items + 1], seen[item.name] = item, true end
  for _, op in ipairs(operations.callable()) do
    local of_c = debug.getinfo(core[op.name], "S").what == "C"
    add(of_c and core_item(op.name, operations.arguments(op), op.doc, "Operations")
      or lua_item(op.name, "Operations"))
  end
  for _, name in ipairs(tree.keys(core)) do
    local known = core_functions.public[name] or core_functions.internal[name]
    if not seen[name] and not known and type(core[name]) == "function" then
      add(lua_item(name, "Sums, derivatives, programs"))
    end
  end
  for _, part in ipairs { { "public", "Tensors, files, system" }, { "internal", "Internal" } } do
    for _, name in ipairs(tree.keys(core_functions[part[1]])) do
      local it = core_functions[part[1]][name]
      if type(core[name]) == "function" then add(core_item(name, it[1], it[2], part[2])) end
    end
  end
end

--- Everything that is reachable from `fm`, module by module.
-- @treturn {table,...} { name = for `require`, path =, access = "fm.NAME" or nil, comment = lines,
-- items = {...}, also = names of functions that another module documents }; an item is
-- { name =, arguments =, call = as it is written, comment = lines (none: undocumented), section =,
-- example =, place = "FILE:LINE" }
function M.modules()
  local list = all_modules()
  for _, module in ipairs(list) do
    local lines = described.lines(module.path)
    module.access, module.comment = access(module.name), head_of(lines)
    module.items, module.also = {}, {}
    local it = require(module.name)
    if module.name == "flowmap" then
      module.access = "fm = require \"flowmap\""
      add_fm(module)
    elseif type(it) == "table" and it ~= core then
      add_functions(module, it)
    elseif type(it) == "function" then
      add_functions(module, { [module.name:match "[^.]+$"] = it })
    end
    local seen = {} -- a module's table may have any name
    for _, item in ipairs(module.items) do seen[item.place or ""] = true end
    for _, item in ipairs(methods_of(module, lines)) do
      if not seen[item.place] then module.items[#module.items + 1] = item end
    end
  end
  return list
end

-- ------------------------------------------------------------------ for LDoc

local ESCAPES = { ["&"] = "&amp;", ["<"] = "&lt;", [">"] = "&gt;" }

-- Text with `code`, and names of modules as links.
local function inline(text, known)
  text = text:gsub("[&<>]", ESCAPES):gsub("@", "&#64;"):gsub("`([^`]+)`", "<code>%1</code>")
    :gsub("(%l%.%l%.) ", "%1&#32;") -- "e.g. " ends no sentence
    :gsub("%-%-", "&#45;&#45;") -- which LDoc takes for the end of the comment
  return (text:gsub("flowmap%.[%w_.]*[%w_]", function(name)
    return known[name] and ('<a href="%s.html">%s</a>'):format(name, name) or name
  end))
end

-- The text of a comment as HTML lines: paragraphs, and blocks that are indented by four spaces.
local function html(lines, known)
  local out, block = {}, "first" -- the first paragraph is LDoc's summary and needs no element
  local function close()
    if block == "pre" then
      out[#out] = out[#out] .. "</pre>"
    elseif block == "p" then
      out[#out + 1] = "</p>"
    end
    block = nil
  end
  for k, line in ipairs(lines) do
    local code = line:match "^    (.*)$"
    local kind = code and "pre" or line:find "%S" and "p" or nil
    if block == "pre" and not kind and (lines[k + 1] or ""):find "^    " then
      kind, code = "pre", ""
    end
    if kind ~= block and not (block == "first" and kind == "p") then
      close()
      if kind then out[#out + 1] = "<" .. kind .. ">" end
      block = kind
    end
    if kind == "pre" then -- in one line, since LDoc would indent the others
      local start = out[#out] == "<pre>" and "" or "&#10;"
      out[#out] = out[#out] .. start .. code:gsub("[&<>]", ESCAPES):gsub("@", "&#64;")
    elseif kind then
      out[#out + 1] = inline(line, known)
    end
  end
  close()
  return out
end

-- The comment as LDoc reads it: text as HTML, then the tags.
local function comment_lines(comment, known, more)
  local text, tags = {}, {}
  for _, line in ipairs(comment) do
    local words = line:gsub("^%-+ ?", "", 1)
    if words:find "^@" then
      if not words:find "^@module" then
        local tag, rest = words:match "^(@%S+)(.*)$"
        tags[#tags + 1] = tag .. rest:gsub("[&<>]", ESCAPES):gsub("`([^`]+)`", "<code>%1</code>")
      end
    elseif #tags > 0 then
      tags[#tags + 1] = "  " .. inline(words, known)
    else
      text[#text + 1] = words
    end
  end
  local out = html(text, known)
  table.move(tags, 1, #tags, #out + 1, out)
  table.move(more, 1, #more, #out + 1, out)
  for k, line in ipairs(out) do out[k] = (k == 1 and "--- " or "-- ") .. line end
  return table.concat(out, "\n")
end

local function item_text(item, known)
  local more = { "@call " .. item.call:gsub("[&<>]", ESCAPES) }
  if item.place then more[#more + 1] = "@place " .. item.place end
  if item.example then
    more[#more + 1] = "@usage"
    for line in item.example:gmatch "[^\n]+" do more[#more + 1] = line end
  end
  local class, name = item.name:match "^([%w_]+)[.:](.+)$"
  if class then more[#more + 1] = "@function " .. class .. "." .. name end
  local arguments, own = item.arguments:gsub("^self,? ?", "") -- LDoc describes no `self`
  return comment_lines(item.comment, known, more) .. (class and "\nlocal _ = 0\n"
    or ("\nfunction M%s%s(%s) end\n"):format(own > 0 and ":" or ".", item.name, arguments))
end

local function module_text(module, known)
  local parts, section = {}, nil
  local more = { "@module " .. module.name, "@access " .. (module.access
    or ("require \"%s\""):format(module.name)) }
  if #module.also > 0 then more[#more + 1] = "@also " .. table.concat(module.also, ", ") end
  parts[1] = comment_lines(module.comment, known, more) .. "\nlocal M = {}\n"
  for _, item in ipairs(module.items) do
    if item.section and item.section ~= section then
      section = item.section
      parts[#parts + 1] = ("--- %s\n-- @section %s\n"):format(section, section:gsub("%W", ""))
    end
    parts[#parts + 1] = item_text(item, known)
  end
  return table.concat(parts, "\n") .. "\nreturn M\n"
end

--- Write the sources that LDoc reads.
-- @tparam string folder
function M.write(folder)
  local list, known = M.modules(), {}
  files.mkdir(folder)
  for _, module in ipairs(list) do known[module.name] = true end
  for _, module in ipairs(list) do
    core.write_file(("%s/%s.lua"):format(folder, module.name), module_text(module, known))
  end
end

return M
