--- The command line as data: every command with its arguments as the manual page and the
-- completions of the shells need them. All of it is read from the tables of flowmap.app.cli, which
-- every function gets as `line`.
-- @module flowmap.app.usage

local M = {}

-- The meaning as a sentence that names the default.
local function meaning_of(spec)
  local meaning = spec[2]
  if spec.default then meaning = ("%s (default: %s)"):format(meaning, spec.default) end
  return meaning:find "[.!?]$" and meaning or meaning .. "."
end

local function normalised(line, spec, optional)
  local names = {}
  for name in spec[1]:gmatch "%S+" do names[#names + 1] = name end
  local positional = names[1]:sub(1, 1) ~= "-"
  local long
  for _, name in ipairs(names) do long = long or name:match "^%-%-(.*)" end
  local key = long or names[1]:gsub("^%-", "")
  local it = { names = names, key = key, positional = positional, meaning = meaning_of(spec),
    many = spec.args == "*" or spec.count == "*",
    optional = optional or spec.args == "*" or spec.args == "?" or not positional and not spec.count
      or spec.count == "*",
    value_optional = spec.otherwise ~= nil }
  for name, kind in pairs(line.kinds) do
    if spec.kind == kind then it.kind = name end
  end
  if not spec.flag then it.value = spec.value and spec.value:match "[%w=]*%w" or key end
  if it.value_optional then it.value = spec.value:match "%w+" end
  return it
end

--- All arguments of a command in the order of its help, without hidden ones.
-- @tparam table line the module flowmap.app.cli
-- @tparam table spec one entry of `cli.commands`; {} stands for the program itself
-- @treturn {table,...} { names = {string, ...}, key = the first long name without dashes,
-- positional = boolean, value = the name of its value or nil for a switch, value_optional =,
-- meaning = a sentence, many = whether it may be repeated, optional =, shared = whether every
-- command has it, information = the same for --help and --version, kind = "file", "folder" or nil }
function M.arguments(line, spec)
  local list = {}
  local function add(argument, optional)
    if not argument.hidden then list[#list + 1] = normalised(line, argument, optional) end
  end
  for k, argument in ipairs(spec.choice and line.choice or {}) do
    add(argument, k == 1 and spec.choice == "optional")
  end
  for k = 3, #spec do add(spec[k]) end
  for _, argument in ipairs(line.everywhere) do
    add(argument)
    list[#list].shared = true
  end
  for _, argument in ipairs(line.information) do
    add(argument)
    list[#list].information = true
  end
  return list
end

local function collect(line, list, specs, prefix)
  for _, spec in ipairs(specs) do
    local it = { name = prefix .. spec[1], summary = spec[2], arguments = M.arguments(line, spec) }
    list[#list + 1] = it
    if spec.commands then
      it.commands = {}
      for k, inner in ipairs(spec.commands) do
        it.commands[k] = { name = inner[1], summary = inner[2] }
      end
      collect(line, list, spec.commands, prefix .. spec[1] .. " ")
    end
  end
  return list
end

--- Every command; one with commands of its own ("data") is followed by these ("data list").
-- @tparam table line the module flowmap.app.cli
-- @treturn {table,...} { name =, summary =, arguments = as above, commands = those it has }
function M.commands(line) return collect(line, {}, line.commands, "") end

return M
