-- Reading programs: fm.show, explain --program and explain --passes.

local t = require "harness"
local sandbox = require "sandbox"
local fm = require "flowmap"

-- Without the legend, which is the first paragraph.
local function shown(...)
  local legend, text = fm.show(...):match "^(.-)\n\n(.*)$"
  t.eq(legend:find "^; %%value: " ~= nil, true, legend)
  return text
end

local w, x = fm.zeros { 512, 2 }, fm.zeros { 64, 2 }

local function loss(w_, x_) return fm.sum(fm.silu(fm.matmul(x_, w_, false, true))) end

local function says(part, f, ...)
  local ok, err = pcall(f, ...)
  t.eq(ok, false, part)
  t.eq(tostring(err):find(part, 1, true) ~= nil, true, tostring(err))
end

t.test("a function, and its gradient", function()
  t.eq(shown(loss, w, x), [[
; program 1 after lower: 4 operations, 950 kFLOP, 256 KiB
%0: f32[512,2]  = input shared
%1: f32[64,2]   = input shared
%2: f32[64,512] = matmul %1, %0 {ta=0, tb=1}
%3: f32[64,512] = silu %2
%4: f32[1,1]    = sum_to %3
%5: f32[]       = reshape %4
output %5 sum
]])
  t.eq(shown(fm.grad(loss), w, x), [[
; program 1 after lower: 3 operations, 1.05 MFLOP, 260 KiB
%0: f32[512,2]  = input shared
%1: f32[64,2]   = input shared
%2: f32[64,512] = matmul %1, %0 {ta=0, tb=1}
%3: f32[64,512] = silu %2 {order=1}
%4: f32[512,2]  = matmul %3, %1 {ta=1, tb=0}
output %4 sum
]])
end)

t.test("tables, constants and other arguments; dead values are left out", function()
  local c = fm.tensor { 1, 2 }
  local function f(p, factor) return { y = fm.add(fm.mul(p.a, factor), c), z = p.a } end
  t.eq(shown(f, { a = fm.zeros(2), b = fm.zeros(2) }, 3, { after = "derive" }), [[
; program 1 after derive: 2 operations, 6 FLOP, 16 bytes; dead: 1
%0: f32[2] = input shared
%2: f32[2] = affine %0 {scale=3, shift=0}
%3: f32[2] = constant #0 [1, 2]
%4: f32[2] = add %2, %3
output %4 sum
output %0 sum
]])
end)

t.test("after fusion", function()
  local text = shown(function(a) return fm.sum(fm.exp(fm.sin(a))) end, fm.zeros(3),
    { after = "fuse" })
  t.eq(text, [[
; body 1 after fuse: 4 operations, 111 FLOP, 32 bytes
%0: f32[3] = input shared
%1: f32[3] = sin %0 ; pass 1
%2: f32[3] = exp %1 ; pass 1
%3: f32[1] = sum_to %2 ; pass 1
%4: f32[]  = reshape %3
output %4 sum
]])
end)

t.test("wrong arguments", function()
  says("unknown pass 'stuck'; did you mean stack?", fm.show, loss, w, x, { after = "stuck" })
  says("show: the options (a last table without tensors): there is no field 'befor'", fm.show,
    loss, w, x, { after = "stack", befor = 1 })
  says("show: argument 1 is a number", fm.show, 3)
  says("show: the result: a number found, expected tensors", fm.show, function() return 3 end)
  says("show: the function returned nothing", fm.show, function() end)
  says("show: the options (a last table without tensors): there is no field 'a'; known: after",
    fm.show, loss, { a = "b" })
  says("show: the argument: a string found at 'a'", fm.show, loss, { a = "b", x = x })
  t.eq(fm.help("show"):find("show.lua, line", 1, true) ~= nil, true, fm.help "show")
end)

-- ------------------------------------------------------------------ the command

local function explain(options) return sandbox.flowmap("explain " .. options) end

t.test("a table that contains itself, or is very deep, is refused", function()
  local cyclic, deep = { x = x }, { x }
  cyclic.inner = { cyclic }
  for _ = 1, 1000 do deep = { deep } end
  for _, it in ipairs { cyclic, deep } do
    local words = "nested more than 100 levels deep found, .*; does it contain itself"
    t.eq(t.raises(function() fm.show(function() return x end, it) end, words).code, "usage")
    t.raises(function() fm.show(function() return it end, x) end, words)
    t.raises(function() fm.grad(function() return fm.sum(x) end)(it) end, words)
    t.raises(function()
      fm.program(function() return { sum = x } end, { shared = it }):stats(4)
    end, words)
  end
end)

t.test("the last table is options if it has no tensor, else an argument", function()
  says("there is no field 'afer'; did you mean after", fm.show, fm.neg, x, { afer = "fuse" })
  t.eq(fm.show(function(p) return -p.after end, { after = x }):find "affine" ~= nil, true)
  t.eq(fm.show(function(_, p) return -p.w end, x, { w = x }, { after = "derive" }):find
    "after derive" ~= nil, true)
end)

sandbox.link "experiments"
local CHECKERBOARD = "experiments/checkerboard.lua --profile smoke "

t.test("explain --passes: a line or more each, in their order", function()
  local code, text = explain "--passes"
  t.eq(code, 0, text)
  local names = {}
  for line in text:gmatch "[^\n]+" do
    names[#names + 1] = line:match "^%S+"
    t.eq(#line <= 80, true, line)
  end
  for k, pass in ipairs(fm.passes()) do t.eq(names[k], pass.name) end
  t.eq(#names, #fm.passes())
end)

t.test("explain --passes takes nothing else", function()
  for words, what in pairs { [CHECKERBOARD] = "experiment", ["--method lsd"] = "method",
    ["--seed 2"] = "seed", ["--set eta=1"] = "settings", ["--program=fuse"] = "pass" } do
    local code, text = explain("--passes " .. words)
    t.eq(code, 2, text)
    t.eq(text:find("flowmap: explain: --passes takes no " .. what, 1, true), 1, text)
  end
end)

t.test("explain --program: after the last pass, all parts of a step, always the same", function()
  local code, text = explain(CHECKERBOARD .. "--program")
  t.eq(code, 0, text)
  local parts = {}
  for part in text:gmatch "\n?; (%a+) %d+ after plan:" do parts[#parts + 1] = part end
  t.eq(parts[1], "prologue", text)
  t.eq(parts[#parts], "body", text)
  for line in text:gmatch "[^\n]+" do t.eq(#line <= 80, true, line) end
  local _, again = explain(CHECKERBOARD .. "--program=plan --threads 1")
  t.eq(again, text)
end)

t.test("explain --program=PASS", function()
  local code, text = explain(CHECKERBOARD .. "--program=derive")
  t.eq(code, 0, text)
  t.eq(text:match "\n; program 1 after derive: %d+ operations" ~= nil, true, text)
  code, text = explain(CHECKERBOARD .. "--program=stuck")
  t.eq(code, 2)
  t.eq(text, "flowmap: unknown pass 'stuck'; did you mean stack?\n")
  code, text = explain "--program"
  t.eq(code, 2)
  t.eq(text, "flowmap: explain: no experiment found, expected a file\n")
end)

t.done()
