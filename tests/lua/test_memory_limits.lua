-- Lack of memory gives exit code 2 and a sentence under any limit of the address space.

local t = require "harness"
local sandbox = require "sandbox"

local input = sandbox.write("input.lua", [[
w = fm.eigh(fm.ones({ 40, 40 }, "float64"))
y = fm.matmul(fm.ones { 64, 64 }, fm.ones { 64, 2 })
function f(s, b) return { sum = { y = fm.sum(fm.matmul(b:normal(64, "x"), s)) } } end
p = fm.program(f, { shared = fm.ones { 64, 2 }, micro = 8 })
z = p:run { batch = 64 }
]])

-- Exit code (137: killed for hanging) and output under a limit in KB.
local function limited(limit, command)
  return sandbox.run(("ulimit -c 0; ulimit -v %d; exec timeout -s KILL 10 %s %s")
    :format(limit, sandbox.program, command))
end

t.test("info, under limits of 20 to 300 MB: it works, or exit code 2 and one sentence", function()
  local works = 0
  for limit = 20000, 300000, 4000 do
    local code, text = limited(limit, "info")
    if code == 0 then works = works + 1 end
    t.eq(code == 0 or code == 2, true, ("%d KB: exit code %s: %s"):format(limit, code, text))
    if code == 2 then
      t.eq(text:find "^flowmap: memory: [^\n]+\n$" ~= nil, true, limit .. " KB: " .. text)
    end
  end
  t.eq(works > 50, true, works)
end)

t.test("products on all threads under 60 to 700 MB succeed or fail with a sentence", function()
  local short, works = 0, 0
  for limit = 60000, 700000, 20000 do
    local code, text = limited(limit, "--threads 2 repl <" .. input)
    local errors = select(2, text:gsub("error: [^\n]*memory: [^\n]+", ""))
    t.eq(select(2, text:gsub("error: ", "")), errors, text)
    t.eq(code == 0 or code == 2, true, ("%d KB: exit code %s: %s"):format(limit, code, text))
    if errors > 0 then short = short + 1 else works = works + 1 end
  end
  t.eq(short > 3 and works > 3, true, short .. " " .. works)
end)

t.test("the environment of child processes is unchanged", function()
  local _, text = sandbox.run(
    ("echo 'os.execute \"echo x${OPENBLAS_NUM_THREADS-unset}x\"' | %s repl")
      :format(sandbox.program))
  t.eq(text:find "xunsetx" ~= nil, true, text)
end)

t.done()
