--- The manual page flowmap(1) in mdoc, generated from the tables of flowmap.app.cli.
-- @module flowmap.app.manual

local core = require "flowmap.core"
local usage = require "flowmap.app.usage"

local M = {}

-- ------------------------------------------------------------------ mdoc

-- Text that troff reads as itself. A hyphen that begins a word is the option's dash, which must
-- stay one when the page is copied.
local function plain(text)
  return (text:gsub("\\", "\\e"):gsub("%f[-%w]%-%-?%f[%w]", function(dashes)
    return ("\\-"):rep(#dashes)
  end):gsub("^[.']", "\\&%0"))
end

-- An argument of a macro: quotation marks would group words.
local function word(text) return (plain(text):gsub('"', "\\(dq")) end

local COLUMNS = 80 -- of the source

-- Sentences start lines of their own, as troff wants them.
local function sentences(text)
  local lines = {}
  for sentence in (text:gsub("([.!?]) (%u)", "%1\n%2") .. "\n"):gmatch "(.-)\n" do
    local line
    for piece in sentence:gmatch "%S+" do
      if line and #line + 1 + #piece <= COLUMNS then
        line = line .. " " .. piece
      else
        lines[#lines + 1] = line and plain(line)
        line = piece
      end
    end
    lines[#lines + 1] = line and plain(line)
  end
  return table.concat(lines, "\n")
end

-- "Fl -profile Ar profile", "Fl -program Ns Op = Ns Ar pass"
local function option(argument)
  local names = {}
  for k, name in ipairs(argument.names) do
    names[k] = "Fl " .. word(name:sub(2))
    if argument.value_optional then
      names[k] = ("%s Ns Op = Ns Ar %s"):format(names[k], argument.value:lower())
    elseif argument.value then
      names[k] = ("%s Ar %s"):format(names[k], word(argument.value:lower()))
    end
  end
  return table.concat(names, " , ")
end

local function positional(argument)
  local text = "Ar " .. word(argument.key) .. (argument.many and " ..." or "")
  return argument.optional and "Op " .. text or text
end

-- ------------------------------------------------------------------ sections

local function synopsis(command)
  local lines = { ".Nm", ".Cm " .. word(command.name) }
  for _, argument in ipairs(command.arguments) do
    if not argument.positional and not argument.shared and not argument.information then
      lines[#lines + 1] = "." .. (argument.optional and "Op " or "") .. option(argument)
    end
  end
  for _, argument in ipairs(command.arguments) do
    if argument.positional then lines[#lines + 1] = "." .. positional(argument) end
  end
  return table.concat(lines, "\n")
end

local function items(arguments, wanted)
  local lines = {}
  for _, argument in ipairs(arguments) do
    if wanted(argument) then
      local head = argument.positional and "Ar " .. word(argument.key) or option(argument)
      lines[#lines + 1] = ".It " .. head .. "\n" .. sentences(argument.meaning)
    end
  end
  if #lines == 0 then return nil end
  return ".Bl -tag -width Ds\n" .. table.concat(lines, "\n") .. "\n.El"
end

local function common(argument) return argument.shared or argument.information end
local function own(argument) return not common(argument) end

local function command_section(command)
  local lines = { ".Ss " .. word(command.name), sentences(command.summary) }
  lines[#lines + 1] = items(command.arguments, own)
  return table.concat(lines, "\n")
end

local function tagged(entries, macro)
  local lines = { ".Bl -tag -width Ds" }
  for _, entry in ipairs(entries) do
    local meaning = entry[2]:gsub("^%l", string.upper):gsub("%w$", "%0.")
    lines[#lines + 1] = (".It %s%s\n%s"):format(macro, word(tostring(entry[1])),
      sentences(meaning))
  end
  lines[#lines + 1] = ".El"
  return table.concat(lines, "\n")
end

-- ------------------------------------------------------------------ texts

local DESCRIPTION = [[
flowmap trains flow maps by self-distillation, measures the samples that they draw, and weaves
experiments and results into a paper. An experiment is a Lua file. Its settings have defaults;
a profile (smoke, laptop, long or paper) adapts them to a budget, and --set changes single ones.

A run is one training of one method with one seed, and its evaluation. It is written to a folder
below results, with a manifest that states everything the result depends on. A run whose inputs have
not changed since is reused; one that was interrupted continues where it stopped and ends with the
same bits.

An error is one sentence on standard error, and the exit status tells its kind.]]

local ENVIRONMENT = {
  { "FLOWMAP_DATA", "Folder of archives of data sets and of packed images. The default is "
    .. "flowmap below XDG_DATA_HOME or ~/.local/share." },
  { "FLOWMAP_INCEPTION", "File of Inception weights. Results on images then include the Frechet "
    .. "distance of its features." },
  { "FLOWMAP_RANKS_APART", "1: ranks exchange messages even on one machine, as they do between "
    .. "machines; for tests." },
  { "FM_THREADS", "Number of worker threads. The option --threads overrides it." },
  { "FM_ISA", "Instruction set: scalar, avx2, avx512 or neon. The default is the machine's best." },
  { "LUA_PATH", "Further places of Lua modules, as for lua." },
  { "LUA_CPATH", "The same for modules in C." },
  { "NO_COLOR", "Any text: no escape sequences are written to a terminal." },
  { "TERM", "dumb, or none: lines are not updated in place." },
  { "TMPDIR", "Folder for temporary files." },
  { "XDG_CACHE_HOME", "Folder of caches, by default ~/.cache. Packed images are below it if "
    .. "FLOWMAP_DATA is not set." },
}

local FILES = {
  { "experiments/", "The experiments of the paper; hello.lua is the shortest example." },
  { "results/", "Runs, tables and figures: results/EXPERIMENT/PROFILE/METHOD-seedN." },
  { "paper/results/", "Published sets, written by flowmap publish." },
  { "paper/build/", "The page and the PDF, written by flowmap paper." },
}

local EXAMPLES = {
  { "Train the checkerboard for a few seconds and draw its figures:",
    "flowmap reproduce experiments/checkerboard.lua --profile smoke" },
  { "Estimate the time and memory of a run before it starts:",
    "flowmap run experiments/checkerboard.lua --method esd --dry-run" },
  { "Draw 1000 samples in two steps:",
    "flowmap sample results/checkerboard/smoke/lsd-seed1/checkpoint.safetensors --steps 2 "
      .. "--count 1000 --out samples.csv" },
  { "Compare two runs down to the step at which their bits first differ:",
    "flowmap diff results/checkerboard/smoke/lsd-seed1 results/checkerboard/smoke/lsd-seed2" },
  { "Weave the page from the published results, without training:",
    "flowmap paper --results paper/results/long" },
  { "Complete commands and options in the running bash:", ". <(flowmap completion bash)" },
}

local function paragraphs(text)
  local list = {}
  for paragraph in (text .. "\n\n"):gmatch "(.-)\n\n" do
    list[#list + 1] = sentences((paragraph:gsub("\n", " ")))
  end
  return table.concat(list, "\n.Pp\n")
end

local function examples()
  local lines = {}
  for k, example in ipairs(EXAMPLES) do
    lines[k] = ("%s\n.Pp\n.Dl %s"):format(plain(example[1]), word(example[2]))
  end
  return table.concat(lines, "\n.Pp\n")
end

-- "2026-11-30" of the release -> "November 30, 2026"
local function date(released)
  local year, month, day = released:match "^(%d+)-(%d+)-(%d+)$"
  local names = { "January", "February", "March", "April", "May", "June", "July", "August",
    "September", "October", "November", "December" }
  return ("%s %d, %d"):format(names[tonumber(month)], day, year)
end

--- The manual page.
-- @tparam table line the module flowmap.app.cli
-- @treturn string mdoc source
function M.text(line)
  local commands, parts = usage.commands(line), {}
  local function section(name, text) parts[#parts + 1] = (".Sh %s\n%s"):format(name, text) end
  parts[1] = ('.\\" Generated by `flowmap manual`.\n.Dd %s\n.Dt FLOWMAP 1\n.Os flowmap %s'):format(
    date(line.released), core.info().version)
  section("NAME", ".Nm flowmap\n.Nd " .. line.purpose:lower():gsub("%.$", ""))
  local synopses, about = {}, {}
  for _, command in ipairs(commands) do
    if not command.commands then synopses[#synopses + 1] = synopsis(command) end
    about[#about + 1] = command_section(command)
  end
  section("SYNOPSIS", table.concat(synopses, "\n"))
  section("DESCRIPTION", paragraphs(DESCRIPTION))
  section("COMMANDS", table.concat(about, "\n"))
  section("OPTIONS OF EVERY COMMAND", items(usage.arguments(line, {}), common))
  section("ENVIRONMENT", tagged(ENVIRONMENT, "Ev "))
  section("FILES", tagged(FILES, "Pa "))
  section("EXIT STATUS", tagged(line.exit_codes, ""))
  section("EXAMPLES", examples())
  section("SEE ALSO", ".Xr gnuplot 1 ,\n.Xr lua5.4 1 ,\n.Xr pandoc 1\n.Rs\n"
    .. ".%A Nicholas M. Boffi\n.%A Michael S. Albergo\n.%A Eric Vanden-Eijnden\n.%T How to build a "
    .. "consistency model: Learning flow maps via self-distillation\n.%D 2025\n"
    .. ".%U https://arxiv.org/abs/2505.18825\n.Re")
  return table.concat(parts, "\n") .. "\n"
end

return M
