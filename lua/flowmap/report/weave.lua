--- Weaving: turns literate Lua and results into one self-contained HTML page with pandoc.
--
-- **Format.** An experiment is ordinary Lua. Blank lines separate groups of lines. A group that
-- consists only of comments at column 0 (`-- text`, or a bare `--` between paragraphs) is PROSE:
-- Markdown with LaTeX mathematics ($...$, $$...$$). Everything else is CODE and is shown unchanged;
-- a comment directly above code, without a blank line, stays with that code. A chapter may also be
-- a Markdown file (`.md`). Lines `-- luacheck: ...` are dropped. (A group of `--` lines between
-- blank lines inside a long string would be taken for prose.)
--
-- **Notation in prose**, each on one line, so that no number is typed by hand:
--
--     {{kl.LSD.N1 %.3f}}           mean over seeds of the metric `kl`, method LSD, N = 1 step
--     {{kl.LSD.N1 pm %.3f}}        mean and half of the 95 % interval: 0.071 ± 0.003
--     {{kl.LSD.N1.half %.3f}}      one statistic: mean, half, sd, min, max, n
--     {{kl.LSD.N1 eta=0.5 stop=none %.3f}}     selects runs by settings (the ablations)
--     {{difference kl.LSD.N1 kl.PSD-M.N1 %.3f}}    "LSD is below PSD-M: difference ...", with its
--                                  interval, p and paired seeds, or "no difference shown"
--     {{ratio kl.PSD-M.N1 kl.LSD.N1 %.2f}}         the same for the ratio (geometric mean)
--     {{difference kl.LSD.N1[eta=0.5] kl.PSD-M.N1[eta=0.75] %.3f}}  settings of one side alone
--     {{difference kl.LSD.N1[eta=0.5:0.75] %.3f}}  the same result with two values of a setting
--     {{effect main-N1 | p alone | LSD %.2f}}      one row and column of the render entry `main-N1`
--                                  (kinds effects and ratios): the ratio with interval, p and seeds
--     {{ratio? ...}} {{difference? ...}} {{effect? ...}}  the same, or "not attempted (...)" where
--                                  the experiment or a method has no runs
--     {{claim lsd-leads: kl.LSD.N1 < kl.PSD-M.N1}}    "supported (...)", "contradicted (...)" or
--                                  "not shown (...)", see flowmap.report.claims
--     {{claim? NAME: ...}}         the same, or "not attempted (...)" where there are no such runs
--     {{config.LSD.batch}} {{manifest.LSD.samples_seen %,d}} a field that all seeds share
--     {{published.kl.LSD.N1 %.4f}} the paper's number, from paper/published.lua
--     {{published.reference.settings.batch %,d}}    a setting of the paper; also reference.params,
--                                  reference.eta.LSD, reference.samples
--     {{provenance}}               the provenance of this chapter's numbers
--     {{table kl}}                 the rendered table kl.md (on a line of its own)
--     {{methods}}                  the table of methods and their sources (on a line of its own)
--     {{equations}}                the index of equations, code and tests (on a line of its own)
--     {{source ...}} {{see ...}} {{reproduction ...}}     see flowmap.report.inserts
--     {{code fold}}                from here on code is folded; also: show, hide (own line)
--     ![Caption.](figure:kl)       the rendered figure kl
--     $$ ... $$ {#eq:lsd}          a numbered equation
--     @eq:lsd @fig:kl @tab:kl @sec:results    references: links with a number; @fig:ablations/kl is
--                                  a figure of another chapter; see paper/numbers.lua
--
-- Text values are shown literally; nothing in a result file acts as Markdown or HTML. Raw HTML and
-- LaTeX are disabled in prose too, so that the page contains only what Markdown can express.
--
-- A name may start with another experiment's, as in {{ablations/kl.LSD.N1 eta=0.5}} and
-- figure:ablations/kl. A name that does not exist is an error that states file, line and field.
-- @module flowmap.report.weave

local attempt = require "flowmap.report.attempt"
local captions = require "flowmap.report.caption"
local claims = require "flowmap.report.claims"
local comparison = require "flowmap.report.comparison"
local contexts = require "flowmap.report.context"
local contrasts = require "flowmap.report.contrasts"
local coordinates = require "flowmap.report.coordinates"
local equations = require "flowmap.report.equations"
local errors = require "flowmap.base.errors"
local escape = require "flowmap.base.escape"
local files = require "flowmap.base.files"
local formulas = require "flowmap.report.formulas"
local lfs = require "lfs"
local literate = require "flowmap.report.literate"
local origin = require "flowmap.report.origin"
local page = require "flowmap.report.page"
local inserts = require "flowmap.report.inserts"
local chapters = require "flowmap.experiment.chapters"
local suite = require "flowmap.experiment"
local published = require "flowmap.experiment.published"
local render = require "flowmap.report.render"
local results = require "flowmap.report.results"

local M = {}

--- See flowmap.report.render; `reproduce` renders through this module.
M.render = render.experiment

--- See flowmap.report.literate.
M.split = literate.split

-- ------------------------------------------------------------------ numbers in prose

-- "ablations/kl" -> "ablations", "kl"; without a prefix the chapter's own experiment.
local function owner(context, name)
  local experiment, rest = name:match("^([%w_-]+)/(.+)$")
  return experiment or context.experiment, rest or name
end

-- Two results of one experiment, which the second name need not repeat: the experiment and both
-- names without it.
local function owner_of_both(context, a, b)
  local experiment, first = owner(context, a)
  local other, second = owner(context, b)
  if second ~= b and other ~= experiment then
    errors.data("'%s' and '%s' are of two experiments, whose runs are not paired", a, b)
  end
  return experiment, first, second
end

-- {{published.reference.params}}, {{published.reference.settings.batch}}, a method's diagonal
-- fraction, {{published.reference.eta.LSD}}, all samples of a training,
-- {{published.reference.samples}}.
local function reference_value(experiment, path)
  local it = (published.read()[experiment] or {}).reference
  local value, method = it, path:match "^eta%.(.+)$"
  for key in path:gmatch "[^.]+" do value = type(value) == "table" and value[key] or nil end
  if it and method then value = it.eta[method] or it.settings.eta end
  if it and path == "samples" then value = it.settings.batch * it.settings.steps end
  return value
end

local function published_value(experiment, name)
  local reference = name:match "^published%.reference%.(.+)$"
  local metric, method, N = name:match("^published%.([%w_]+)%.([%w-]+)%.N(%d+)$")
  local value = published.read()[experiment]
  for _, key in ipairs { metric or false, method or false, math.tointeger(tonumber(N)) or false } do
    value = type(value) == "table" and value[key] or nil
  end
  if reference then value = reference_value(experiment, reference) end
  if type(value) ~= "number" then
    errors.data("there is no published value '%s' for %s in paper/published.lua", name,
      tostring(experiment))
  end
  return value
end

-- Parse the words after a name: settings that select runs, "pm", and a format.
local function options_of(words)
  local where, format, pm = {}, nil, false
  for word in words:gmatch("%S+") do
    local key, value = word:match("^([%w_]+)=(.+)$")
    if key then where[key] = value
    elseif word == "pm" then pm = true
    elseif word:find("^%%[%d.]*[aefgdsEG]$") or word == "%,d" then format = word
    else errors.data("'%s' is not a setting (key=value), 'pm' or a format such as %%.3f", word)
    end
  end
  return where, format, pm
end

local function format_value(value, format)
  if not format then format = type(value) == "number" and "%.4g" or "%s" end
  if format == "%,d" then
    local number = tonumber(value)
    local whole = number and math.tointeger(number)
    if whole then return results.grouped(whole) end
    errors.data("%s is not a whole number, whose digits %%,d would group", tostring(value))
  end
  if format:find("d$") then value = math.tointeger(value) or value end
  local ok, text = pcall(string.format, format, value)
  if not ok then errors.data("the value %s does not fit the format %s", tostring(value), format) end
  return type(value) == "string" and escape.markdown(text) or text
end

--- A number in prose.
-- @tparam number value
-- @tparam ?string format such as "%.3f"; "%,d" groups the digits of a whole number
-- @treturn string
M.number = format_value

-- The two results that a comparison names, and the words behind them; nil if it does not.
local function two_results(words)
  local name, key, x, y, rest =
    words:match "^([^%s%[]+)%[([%w_]+)=([^%s:%]]+):([^%s:%]]+)%]%s*(.*)$"
  if not name then return words:match "^(%S+)%s+(%S+)%s*(.*)$" end
  local second = name:match "[^/]*$" -- the experiment is named once
  return ("%s[%s=%s]"):format(name, key, x), ("%s[%s=%s]"):format(second, key, y), rest
end

-- The sentence for {{difference A B ...}} or {{ratio A B ...}}.
local function comparison_text(context, kind, words)
  local a, b, rest = two_results(words)
  if not a then errors.data("%s: expected the names of two results, found '%s'", kind, words) end
  local experiment, first, second = owner_of_both(context, a, b)
  local where, format = options_of(rest)
  local set = context:set(experiment)
  return escape.markdown(comparison.sentence(set, kind, first, second, where, format))
end

-- The sentence for {{effect ENTRY | ROW | COLUMN}}.
local function effect_text(context, words)
  local entry, row, column, format = words:match "^(%S+)%s*|%s*(.-)%s*|%s*(.-)%s*(%%[%d.]*[efg]?)$"
  if not entry then entry, row, column = words:match "^(%S+)%s*|%s*(.-)%s*|%s*(.-)$" end
  if not entry then errors.data("effect: expected ENTRY | ROW | COLUMN, found '%s'", words) end
  local experiment, name = owner(context, entry)
  return escape.markdown(contrasts.sentence(context:effects_of(experiment, name), row, column,
    format))
end

-- "not attempted (...)" for an optional lookup, such as {{ratio? A B}}, of an experiment or a
-- method that has no runs, of an effect with its row and column; nil if there are runs.
local function unattempted(context, kind, words)
  local experiment, first = owner(context, words:match "^%S*")
  local why = attempt.without(context, experiment, first, words:match "^%S+%s+(%S+)" or first)
  if not why then return nil end
  local text = ("not attempted (%s)"):format(why)
  if kind ~= "effect" then return text end
  local row, column = words:match "|%s*(.-)%s*|%s*([^%%]-)%s*%%?[%d.]*[efg]?$"
  return row and escape.markdown(("%s (%s): %s"):format(row, column, text)) or text
end

-- The sentence for {{difference ...}}, {{ratio ...}} or {{effect ...}}.
local function sentence(context, kind, words)
  if kind == "effect" then return effect_text(context, words) end
  return comparison_text(context, kind, words)
end

local SENTENCES = { difference = true, ratio = true, effect = true }

-- The verdict on {{claim NAME: ...}}, one of the claims of the chapter.
local function claim_text(context, words, optional)
  local claim = claims.parse(words, optional)
  if not context.verdicts then
    local list = context.claims and #context.claims > 0 and context.claims or { claim }
    context.verdicts = claims.judge(list, function(it)
      local experiment, first, second = owner_of_both(context, it.a, it.b)
      local absent = it.optional and attempt.absent(context, experiment, first, second)
      if absent then return nil, absent, "not attempted" end
      local found, _, _, lost = comparison.named(context:set(experiment), "difference", first,
        second, (options_of(it.rest)))
      return found, lost
    end)
  end
  return escape.markdown(context.verdicts[claim.name])
end

--- The text for one `{{...}}`.
-- @param context see new_context
-- @tparam string inside the text between the braces
-- @treturn string
function M.inline(context, inside)
  local name, words = inside:match("^%s*(%S+)%s*(.-)%s*$")
  local experiment, field = owner(context, name or "")
  if field == "provenance" then return escape.markdown(context:set(experiment):provenance()) end
  if field == "table" then
    local own, table_name = owner(context, words)
    local text = results.read_file(context:table(own, table_name))
    return ("\n:::::: {#tab:%s:%s}\n%s\n::::::\n%s"):format(own, table_name,
      captions.table(context, own, table_name, text),
      origin.markdown(context, own, table_name, "table"))
  end
  if field == "equations" then
    return ("\n:::::: {#tab:equations:index}\n%s::::::\n"):format(equations.markdown(
      function(text, path) return origin.link(context, text, path) end))
  end
  if field == "methods" then
    return "\n" .. coordinates.markdown(context.experiment and suite.load(context.path).losses)
  end
  if inserts.known[name] then return inserts.known[name](context, words) end
  if name == "claim" or name == "claim?" then return claim_text(context, words, name ~= "claim") end
  local kind, optional = field:match "^(%a+)(%??)$"
  if SENTENCES[kind] then
    return optional == "?" and unattempted(context, kind, words)
      or sentence(context, kind, words)
  end
  local where, format, pm = options_of(words)
  if field:find("^published%.") then
    return format_value(published_value(experiment, field), format)
  end
  local value, summary, lost = context:set(experiment):lookup(field, where)
  if lost then return value end
  if not pm then return format_value(value, format) end
  if not (summary and summary.half) then
    errors.data("'%s' has no interval: it is not a mean over two or more seeds", field)
  end
  return format_value(value, format) .. " ± " .. format_value(summary.half, format)
end

-- The file of a figure: SVG, or PNG where the SVG file was too large to be published.
local function figure_path(context, name)
  local experiment, figure = owner(context, name)
  local stem = context:figure(experiment, figure)
  local path = stem .. (files.exists(stem .. ".svg") and ".svg" or ".png")
  if not files.exists(path) then errors.data("there is no figure %s", path) end
  return path
end

-- Fill in one line of prose; errors name the place. The origins of its figures are added to a list:
-- they follow the paragraph.
local function fill(context, line, place, origins)
  local function named(what, f, argument)
    local ok, value = pcall(f, context, argument)
    if ok then return value end
    errors.data("%s: %s: %s", place, what, tostring(value))
  end
  line = line:gsub("{{(.-)}}", function(inside)
    local text = named("{{" .. inside .. "}}", M.inline, inside)
    local is_bare = text:find("{#tab:", 1, true) and not text:find("::: origin", 1, true)
    return is_bare and text .. origin.woven(context, place, inside) or text
  end)
  -- Behind a backslash stands text of the results, which only looks like a reference.
  line = line:gsub("(\\?)@([ft][ia][gb]):([%w_/-]+)", function(escaped, kind, name)
    local experiment, rest = owner(context, name)
    return escaped == "" and experiment and ("@%s:%s:%s"):format(kind, experiment, rest) or nil
  end)
  return (line:gsub("(\\?)%]%(figure:([^)%s]+)%)", function(escaped, name)
    if escaped ~= "" then return nil end
    local path = named("figure:" .. name, figure_path, name):gsub("[<>\\]", "\\%0")
    local experiment, figure = owner(context, name)
    origins[#origins + 1] = origin.markdown(context, experiment, figure, "figure")
    return ("%s](<%s>){#fig:%s:%s}"):format(captions.figure(context, experiment, figure), path,
      experiment, figure)
  end))
end

-- Append the origins of the figures of a paragraph that has ended.
local function flush(out, origins)
  table.move(origins, 1, #origins, #out + 1, out)
  return {}
end

-- ------------------------------------------------------------------ chapters

local function code_text(block, mode)
  if mode == "hide" then return "" end
  local text, longest = table.concat(block, "\n"), 7
  for run in text:gmatch "`+" do longest = math.max(longest, #run) end
  local fence = ("`"):rep(longest + 1)
  local code = fence .. "{.lua}\n" .. text .. "\n" .. fence .. "\n"
  if mode == "show" then return code end
  return ('::::::: {.fold lines="%d"}\n%s:::::::\n'):format(#block, code)
end

--- Weave one chapter, literate Lua or Markdown, into Markdown.
-- @tparam string path
-- @tparam table how {profile=, results=, published= (see flowmap.report.context), code= "show"
--   (default), "fold" or "hide"}
-- @treturn string
function M.chapter(path, how)
  local source = results.read_file(path)
  local own = path:match("([^/]+)%.lua$")
  local context = contexts.new(own, how, path)
  local blocks = own and literate.split(source) or literate.markdown(source)
  context.claims = claims.list(source)
  local out, mode = {}, how.code or "show"
  for _, block in ipairs(blocks) do
    if block.kind == "code" then
      out[#out + 1] = code_text(block, mode)
    else
      local origins = {}
      formulas.check(block, path)
      for i, line in ipairs(block) do
        local place = ("%s:%d"):format(path, block.first + i - 1)
        local wanted = line:match("^{{code%s+(%a+)}}$")
        if wanted then
          mode = errors.choice(place .. ": code mode", wanted, { "show", "fold", "hide" })
        end
        if line == "" then origins = flush(out, origins) end
        out[#out + 1] = wanted and "" or fill(context, line, place, origins)
      end
      flush(out, origins)
      out[#out + 1] = ""
    end
  end
  return table.concat(out, "\n") .. "\n"
end

-- Refuse a chapter that is the very file to which the book's Markdown is written.
local function check_source(path, output)
  local from, to = lfs.attributes(path), lfs.attributes(output)
  if from and to and from.dev == to.dev and from.ino == to.ino then
    errors.usage("%s would be overwritten by what is woven from it; move the chapter to another "
      .. "folder", path)
  end
end

--- Weave a book: all chapters, in order, into DIR/NAME.md and DIR/NAME.html.
-- @tparam table book what paper/chapters.lua returns, with paths that can be read from here, and
-- perhaps a `name` in place of "flow-maps"
-- @tparam table how {profile=, results=, published=, code=, pdf= (also DIR/NAME.pdf, if LuaLaTeX is
--   there)}
-- @treturn string path of the page
-- @treturn ?string path of the PDF
function M.book(book, how)
  local texts, stem = {}, ("%s/%s"):format(book.output, book.name or "flow-maps")
  how.output, how.sets = book.output, {}
  for _, path in ipairs(book.chapters) do check_source(path, stem .. ".md") end
  for i, path in ipairs(book.chapters) do texts[i] = M.chapter(path, how) end
  results.write_file(stem .. ".md", table.concat(texts, "\n"))
  local about = { title = book.title, style = book.style,
    subtitle = book.subtitle:format(how.profile), bibliography = book.bibliography }
  local finish = how.pdf and page.printing(stem .. ".md", stem .. ".pdf", about)
  page.write(stem .. ".md", stem .. ".html", about)
  if finish then finish() end
  return stem .. ".html", finish and stem .. ".pdf" or nil
end

-- The whole book, or only the given chapters under the name of the first; and their experiments.
local function chosen(paths)
  local book = chapters.book()
  if #paths == 0 then return book, chapters.experiments() end
  local file = paths[1]:match "[^/]*$"
  book.name, book.chapters = file:match "^(.+)%.[^.]*$" or file, {}
  if book.name == "flow-maps" then book.name = "flow-maps-chapter" end -- not the whole book's
  local experiments = {}
  for i, path in ipairs(paths) do
    book.chapters[i] = files.exists(path) and path or files.installed(path)
    if not files.exists(book.chapters[i]) then
      errors.usage("there is no chapter '%s'; expected a file such as paper/introduction.md", path)
    end
    if path:find "%.lua$" then experiments[#experiments + 1] = path end
  end
  return book, experiments
end

-- Prose may use results of any experiment: its profile is one of the suite's, or has results.
local function check_profile(profile)
  local known = table.move(suite.profiles, 1, #suite.profiles, 1, {})
  for _, name in ipairs(files.folders "results") do
    local made = files.folders("results/" .. name)
    table.move(made, 1, #made, #known + 1, known)
  end
  errors.choice("profile", profile, known)
end

-- The chapters whose results are in a folder of published sets; the others are named.
local function published_chapters(book, folder)
  local kept, left, sets = {}, {}, 0
  for _, path in ipairs(book.chapters) do
    local name = path:match "([^/]+)%.lua$"
    local there = name and files.exists(("%s/%s/set.json"):format(folder, name))
    if there then sets = sets + 1 end
    table.insert((there or not name) and kept or left, path)
  end
  if #left > 0 and sets == 0 then
    errors.usage("there are no published sets in %s", folder)
  end
  book.chapters = kept
  for i, path in ipairs(left) do left[i] = path:match "[^/]+$" end
  if #left > 0 then
    io.stdout:write(("left out, for want of a set in %s: %s\n"):format(folder,
      table.concat(left, ", ")))
  end
end

--- The command `paper`: render the chapters' experiments from their results and weave the page.
-- @tparam table args {profile=, chapters=, results= (a folder of published sets, which are woven as
--   they are), pdf=}
-- @treturn integer exit code
function M.run(args)
  local book, experiments = chosen(args.chapters)
  local folder = args.results and args.results:gsub("(.)/+$", "%1")
  if folder and not files.exists(folder) then -- that of an installed copy, used from elsewhere
    local installed = files.installed(folder)
    folder = files.exists(installed) and installed or folder
  end
  if folder then
    published_chapters(book, folder)
  elseif #experiments == 0 then
    check_profile(args.profile)
  end
  for _, path in ipairs(folder and {} or experiments) do
    render.experiment(suite.load(path), args.profile)
  end
  local html, pdf = M.book(book, { profile = folder and folder:match "[^/]*$" or args.profile,
    published = folder, pdf = args.pdf })
  io.stdout:write("written: ", html, pdf and ", " .. pdf or "", "\n")
  if args.pdf and not pdf then
    io.stdout:write "no PDF: it needs LuaLaTeX (Debian: texlive-luatex, texlive-latex-recommended, "
    io.stdout:write "lmodern)\n"
  end
  return 0
end

return M
