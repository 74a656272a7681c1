-- `make readme`: weave README.md and RESULTS.md from the committed results.

local differ = require("flowmap.report.readme").run()
print(#differ == 0 and "README.md and RESULTS.md are as the results give them"
  or "written: " .. table.concat(differ, ", "))
