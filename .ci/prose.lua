-- Report numbers that are typed in the prose of files but should be looked up. Arguments: files.
-- lua/flowmap/report/prose.lua lists the kinds that may be typed.
local found = require("flowmap.report.prose").check(arg)
for _, sentence in ipairs(found) do print(sentence) end
os.exit(#found == 0)
