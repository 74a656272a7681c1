-- The completions of bash and zsh: they come from the command line's own description, and in a
-- real bash and a real zsh they complete what was begun.

local t = require "harness"
local cli = require "flowmap.app.cli"
local completion = require "flowmap.app.completion"
local sandbox = require "sandbox"
local usage = require "flowmap.app.usage"

sandbox.write("completion.bash", completion.text("bash", cli))
sandbox.write("fpath/_flowmap", completion.text("zsh", cli))
sandbox.write("here/own.lua", "")
sandbox.write("here/notes.txt", "")
sandbox.mkdir "here/own folder"

-- ------------------------------------------------------------------ bash

-- The replies to a begun command line, as the shell calls the function; "|" separates its words,
-- the last of which is to be completed.
local function replies(lines)
  local script = { "source ../completion.bash" }
  for _, line in ipairs(lines) do
    local words = {}
    for word in (line .. "|"):gmatch "([^|]*)|" do words[#words + 1] = "'" .. word .. "'" end
    script[#script + 1] = ("COMP_WORDS=(%s) COMP_CWORD=%d; _flowmap; IFS='|'; "
      .. 'echo "${COMPREPLY[*]}"; unset IFS'):format(table.concat(words, " "), #words - 1)
  end
  sandbox.write("ask.bash", table.concat(script, "\n"))
  local code, out = sandbox.run "cd here && bash --norc ../ask.bash"
  t.eq(code, 0, out)
  local list = {}
  for line in out:gmatch "([^\n]*)\n" do list[#list + 1] = "|" .. line .. "|" end
  t.eq(#list, #lines, out)
  return list
end

local function has(reply, word) return reply:find("|" .. word .. "|", 1, true) ~= nil end

t.test("bash offers every command and every option of each", function()
  local lines, expected = { "flowmap|" }, {}
  for _, command in ipairs(usage.commands(cli)) do
    lines[#lines + 1] = "flowmap|" .. command.name:gsub(" ", "|") .. "|-"
    expected[#lines] = command
  end
  local found = replies(lines)
  for k, command in pairs(expected) do
    t.eq(command.name:find " " ~= nil or has(found[1], command.name), true, command.name)
    for _, argument in ipairs(command.arguments) do
      for _, name in ipairs(argument.positional and {} or argument.names) do
        t.eq(has(found[k], name), true, command.name .. " " .. name .. ": " .. found[k])
      end
    end
  end
  t.eq(has(found[1], "fetch"), false) -- a command of `data` only
end)

t.test("bash completes values by their kind", function()
  local cases = {
    { "flowmap|rep", "reproduce" },
    { "flowmap|--threads|2|rep", "reproduce" },
    { "flowmap|data|fe", "fetch" },
    { "flowmap|data|fetch|cel", "celeba" },
    { "flowmap|run|--profile|sm", "smoke" },
    { "flowmap|run|--profile|=|sm", "smoke" },
    { "flowmap|run|--profile|=", "smoke", "paper" },
    { "flowmap|run|ow", "own.lua", "own folder" },
    { "flowmap|run|--out|o", "own folder" },
    { "flowmap|run|--set|wid", "width=" },
    { "flowmap|run|x.lua|--method|ls", "lsd" },
    { "flowmap|reproduce|--methods|lsd,psd-m,mea", "lsd,psd-m,meanflow" },
    { "flowmap|sample|--sampler|dop", "dopri5" },
    { "flowmap|sample|no", "notes.txt" },
    { "flowmap|explain|--program|=|fu", "fuse" },
    { "flowmap|explain|--program|ow", "own.lua" }, -- no value: the word is the experiment
    { "flowmap|publish|lo", "long" },
    { "flowmap|publish|long|ow", "own.lua" },
    { "flowmap|methods|ls", "lsd" },
    { "flowmap|gradcheck|matm", "matmul" },
    { "flowmap|completion|z", "zsh" },
  }
  local lines = {}
  for k, case in ipairs(cases) do lines[k] = case[1] end
  local found = replies(lines)
  for k, case in ipairs(cases) do
    for j = 2, #case do
      t.eq(has(found[k], case[j]), true, case[1] .. ": " .. found[k])
    end
  end
  t.eq(has(found[8], "notes.txt"), false)
  t.eq(replies { "flowmap|run|--seed|", "flowmap|info|" }, { "||", "||" })
end)

-- A terminal of its own, in which the tabulator key is pressed; the command shows its arguments.
t.test("bash completes at the prompt", function()
  if not sandbox.has "script" then return t.skip("prompt of bash", "script is not installed") end
  sandbox.write("typed", 'cd here; PS1=; source ../completion.bash; flowmap() { printf "<%s>" '
    .. '"$@" >>../shown; }\nflowmap inf\t\nflowmap run own.\t--prof\tsmo\t--set wid\t3\n'
    .. "flowmap run --out own\t\nexit\n")
  local code, out = sandbox.run "script -qc 'bash --norc --noprofile -i' /dev/null <typed"
  t.eq(code, 0, out)
  t.eq(sandbox.read "shown", "<info><run><own.lua><--profile><smoke><--set><width=3><run><--out>"
    .. "<own folder/>", out)
end)

-- ------------------------------------------------------------------ zsh

t.test("zsh knows every command and every option of each", function()
  local text = completion.text("zsh", cli)
  for _, command in ipairs(usage.commands(cli)) do
    local last = command.name:match "%S+$"
    t.eq(text:find("'" .. last .. ":", 1, true) ~= nil, true, command.name)
    local name = "_flowmap_" .. command.name:gsub("[ -]", "_")
    local body = text:match("\n" .. name .. "%(%) {\n(.-)\n}\n")
    for _, argument in ipairs(command.arguments) do
      for _, option in ipairs(argument.positional and {} or argument.names) do
        local at = option:gsub("%p", "%%%0") .. "[=+-]*%["
        t.eq(body:find("['*)]" .. at) ~= nil, true, command.name .. " " .. option)
      end
    end
  end
end)

-- Runs in a terminal of zsh's own making; what follows the tabulator key is printed by the shell.
local ZPTY = [==[
zmodload zsh/zpty
zpty -b z zsh -f -i
zpty -w z 'PS1=; cd here; fpath=(../fpath $fpath); autoload -Uz compinit; compinit -u -D'
zpty -w z 'flowmap() { printf "<%s>" "$@" >>../zshown }'
for line in $'inf\t' $'run own.\t--prof\tsmo\t' $'run --set wid\t3' $'data fet\tcel\t' \
  $'reproduce --methods lsd,psd-m,mea\t' $'explain --program=fu\t' $'paper no\t'; do
  zpty -w z "flowmap $line"
done
zpty -w z 'touch ../zdone'
for k in {1..200}; do [[ -e zdone ]] && break; sleep 0.1; zpty -r -t z _; done
zpty -d z
]==]

t.test("zsh completes at the prompt", function()
  if not sandbox.has "zsh" then return t.skip("prompt of zsh", "zsh is not installed") end
  sandbox.write("ask.zsh", ZPTY)
  local code, out = sandbox.run "zsh -n fpath/_flowmap && zsh -f ask.zsh"
  t.eq(code, 0, out)
  t.eq(sandbox.read "zshown", "<info><run><own.lua><--profile=smoke><run><--set><width=3><data>"
    .. "<fetch><celeba><reproduce><--methods><lsd,psd-m,meanflow><explain><--program=fuse>"
    .. "<paper><notes.txt>", out)
end)

t.done()
