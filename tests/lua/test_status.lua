-- The progress line on terminals of any width and elsewhere.

local t = require "harness"
local files = require "flowmap.base.files"
local Progress = require "flowmap.base.progress"
local Status = require "flowmap.base.status"
local sandbox = require "sandbox"

-- script(1) ends when its input does, maybe before it has passed on what its command wrote: on a
-- busy machine nothing came. A pipe that is open at both ends never ends.
local endless = sandbox.path "endless"
assert(os.execute("mkfifo " .. files.quote(endless)))

-- The output of a progress line over half a second, on a terminal if `columns` is given.
local function shown(columns, environment, fd)
  local path = sandbox.write("loop.lua", [[
    local fm, Progress = require "flowmap", require "flowmap.base.progress"
    local of = arg[1] == "2" and require("flowmap.base.notice") or Progress
    local bar <close> = of.new("training with a label of its own", 2000000)
    local start = fm.clock()
    repeat bar:update(1234567 + math.floor(fm.clock() - start), "loss 0.1234") until
      fm.clock() - start > 0.5
  ]])
  local command = ("%s lua5.4 %s %d"):format(environment or "", path, fd or 1)
  if columns then
    command = ("script -qec %s /dev/null 0<>%s"):format(
      files.quote(("stty cols %d; %s"):format(columns, command)), files.quote(endless))
  end
  local code, text = sandbox.run("TERM=xterm " .. command)
  t.eq(code, 0, text)
  return text
end

-- The lines that a terminal got, without movements and escape sequences.
local function lines(text)
  local list = {}
  for line in text:gsub("\27%[J", "\r"):gmatch "[^\r\n]+" do list[#list + 1] = line end
  return list
end

t.test("on a terminal one line is rewritten and always fits the width", function()
  for _, fd in ipairs { 1, 2 } do
    for _, columns in ipairs { 20, 40, 80 } do
      local text = shown(columns, nil, fd)
      local start = fd == 2 and 2 or 1 -- a notice begins with a line of its own
      local found = lines(text)
      t.eq(#found >= start, true, text)
      for k = start, #found do
        t.eq(#found[k] < columns, true, columns .. ": " .. found[k])
        t.eq(found[k]:find "left$" ~= nil, true, found[k])
      end
      t.eq(text:find "\27%[J" ~= nil, true)
      t.eq(select(2, text:gsub("\n", "")) <= 1, true, "rewritten in place")
    end
  end
end)

t.test("no escape sequences with NO_COLOR, TERM=dumb or without a terminal", function()
  for _, fd in ipairs { 1, 2 } do
    local text = shown(40, "NO_COLOR=1", fd)
    t.eq(text:find "\27", nil)
    t.eq(text:find "left *\r" ~= nil, true, "rewritten all the same: " .. text)
    for _, other in ipairs { shown(40, "TERM=dumb", fd), shown(40, "TERM=", fd),
      shown(nil, nil, fd) } do
      t.eq(other:find "\27", nil)
      t.eq(other:gsub("\r\n", "\n"):find "\r", nil)
    end
  end
end)

t.test("cutting: control characters become visible, wide letters count twice", function()
  t.eq(Status.cut("a\27[31mb\n", 80), "a?[31mb?")
  t.eq(Status.cut("日本語", 5), "日本")
  t.eq(Status.cut("\xff\xfe", 5), "??")
  t.eq(Status.cut("é\u{9b}31m\u{202e}\xff", 80), "é?31m??") -- U+009B begins a sequence as \27[ does
  t.eq(Status.fit({ "longest", "long", "l" }, 4), "long")
  t.eq(Status.fit({ "longest", "long" }, 2), "lo")
end)

t.test("a report to the parent is read back", function()
  local it = Progress.parse "\30training\t3\t20\t1.500\tloss 1\t2"
  t.eq(it, { label = "training", done = 3, total = 20, left = 1.5, note = "loss 1\t2" })
  t.eq(Progress.parse "training\t3\t20\t1.500\tloss", nil)
  t.eq(Progress.duration(0 / 0), "?")
  t.eq(Progress.duration(3723), "1:02:03")
end)

t.done()
