-- Print a hash of the weights in each checkpoint of the command line.
local core = require "flowmap.core"
for _, path in ipairs(arg) do
  local parts = {}
  for name, x in pairs((core.load_safetensors(path))) do
    if name:find "^params" then parts[#parts + 1] = name .. core.sha256(core.bytes(x)) end
  end
  table.sort(parts)
  print(core.sha256(table.concat(parts, "\n", 1, assert(#parts > 0 and #parts))))
end
