-- Numbers have decimal points and names have one order in any locale that an experiment sets.

local t = require "harness"
local files = require "flowmap.base.files"
local fm = require "flowmap"
local json = require "flowmap.base.json"
local sandbox = require "sandbox"

local work, write = sandbox.root, sandbox.write

-- A locale with decimal commas, which the machine need not have installed (package locales).
local made, said = sandbox.run "localedef -i de_DE -f UTF-8 ./de_DE.UTF-8"

local function run(command) return sandbox.run(command, "LOCPATH=" .. work) end

t.test("there is a locale with commas to try, and stock Lua takes it", function()
  t.eq(made, 0, said)
  local code, text = run [[lua5.4 -e 'os.setlocale "de_DE.UTF-8" print(1.5)']]
  t.eq({ code, text }, { 0, "1,5\n" })
end)

t.test("the program's numbers keep their dots", function()
  local path = write("input.lua", [[
print(1, os.setlocale "de_DE.UTF-8", os.setlocale("de_DE.UTF-8", "numeric"))
print(2, os.setlocale("de_DE.UTF-8", "collate"), os.setlocale("de_DE.UTF-8", "ctype"))
print(3, os.setlocale("de_DE.UTF-8", "time"), os.setlocale("de_DE.UTF-8", "monetary"))
print(4, 1.5, ("%.2f"):format(0.25), tonumber "2.5", tonumber "2,5", fm.tensor { 1.5 })
print(5, require("cjson").encode { 1.5 }, require("cjson").decode("[2.5]")[1], "a" < "B")
print(6, os.setlocale "C", os.setlocale(nil, "numeric"))
]])
  local code, text = run(sandbox.program .. " repl <" .. path)
  t.eq(code, 0, text)
  for _, line in ipairs { "1\tnil\tnil", "2\tnil\tnil", "3\tde_DE.UTF-8\tde_DE.UTF-8",
    "4\t1.5\t0.25\t2.5\tnil\tfloat32 (1) {1.5}", "5\t[1.5]\t2.5\tfalse", "6\tC\tC" } do
    t.eq(text:find(line, 1, true) ~= nil, true, line .. " in " .. text)
  end
end)

t.test("an experiment that sets a locale has the same bits as one that does not", function()
  local text = files.read "experiments/checkerboard.lua"
  local plain = write("plain.lua", text)
  local own = write("own.lua", "os.setlocale 'de_DE.UTF-8'\n" .. text)
  local hashes = {}
  for k, path in ipairs { plain, own } do
    local dir = work .. "/run" .. k
    local code, out = run(("%s run %s --profile smoke --set width=16 --set steps=4 --set nfe=1 "
      .. "--set eval_samples=500 --set batch=32 --set lr=1.5e-3 --out %s")
      :format(sandbox.program, path, dir))
    t.eq(code, 0, out)
    t.eq(json.read(dir .. "/config.json").lr, 1.5e-3)
    hashes[k] = {}
    for name, tensor in pairs((fm.load_safetensors(dir .. "/checkpoint.safetensors"))) do
      hashes[k][name] = fm.sha256(fm.bytes(tensor))
    end
  end
  t.eq(hashes[2], hashes[1])
end)

t.test("in a stock Lua the module refuses to write decimal commas", function()
  local path = write("stock.lua", [[
local fm = require "flowmap"
os.setlocale "de_DE.UTF-8"
print(pcall(fm.write_file, arg[1] .. "/a.json", tostring(1.5)))
print(pcall(fm.save_safetensors, arg[1] .. "/a.safetensors", { a = fm.tensor { 1 } }))
os.setlocale("C", "numeric")
print(pcall(fm.write_file, arg[1] .. "/a.json", tostring(1.5)))
os.setlocale("C", "collate")
print(pcall(fm.write_file, arg[1] .. "/b.json", tostring(1.5)))
]])
  local _, text = run(("lua5.4 %s %s"):format(path, work))
  local refusal = "false\t[^\n]*the locale writes 1,5 for one and a half"
  t.eq(select(2, text:gsub(refusal, "")), 2, text)
  t.eq(text:find "false\t[^\n]*the locale writes 1%.5 [^\n]*\ntrue" ~= nil, true, text)
  t.eq({ sandbox.exists "a.json", sandbox.exists "a.safetensors",
    sandbox.read "b.json" }, { false, false, "1.5" })
end)

t.done()
