-- Judge the woven page by axe-core in headless Chromium: light and dark, on a desktop and a phone,
-- with everything unfolded and laid out. Serious and critical findings fail.
--
-- usage: make accessibility [PAGE=paper/build/flow-maps.html]

local browser = require "browser"
local files = require "flowmap.base.files"
local lfs = require "lfs"

local page = arg[1] or "paper/build/flow-maps.html"

local function skip(why)
  print("accessibility: not tested: " .. why)
  os.exit(0)
end

-- The script of axe-core: of AXE, of this folder, or of all users.
local function axe()
  local places = { os.getenv "AXE" or "", "node_modules/axe-core/axe.min.js" }
  local pipe <close> = files.pipe("npm", "npm root -g 2> /dev/null")
  places[3] = (pipe:read "l" or "") .. "/axe-core/axe.min.js"
  for _, path in ipairs(places) do
    local text = path ~= "" and files.read_if_there(path)
    if text then return text end
  end
end

if not os.execute "command -v chromium > /dev/null 2>&1" then skip "Chromium is not installed" end
local script = axe()
if not script then
  skip "axe-core is not installed (npm install axe-core; AXE names its axe.min.js)"
end
if not files.exists(page) then skip(page .. " is not there; `make paper` makes it") end

-- Content that is folded or far from the window would not be judged.
local UNFOLD = [[(() => {
  for (const it of document.querySelectorAll("details")) it.open = true;
  const style = document.createElement("style");
  style.textContent = "section { content-visibility: visible !important; }";
  document.head.append(style);
})()]]

local RUN = [[axe.run(document, { resultTypes: ["violations"] }).then((found) =>
  found.violations.map((it) => [it.impact, it.id, it.nodes.length, it.help,
    it.nodes[0].target.join(" ")].join("\t")).join("\n"))]]

local profile, _ <close> = require("flowmap.core").private_folder()
local url = "file://" .. (page:sub(1, 1) == "/" and page or lfs.currentdir() .. "/" .. page)
browser.patience = 600
local tab = browser.start(profile)
local serious = 0
for _, scheme in ipairs { "light", "dark" } do
  for _, width in ipairs { 1280, 390 } do
    tab:call("Emulation.setEmulatedMedia", { features = { { name = "prefers-color-scheme",
      value = scheme } } })
    tab:open(url, width, 900)
    tab:value(UNFOLD)
    tab:value(script .. "; true")
    local count = 0
    for line in tab:value(RUN):gmatch "[^\n]+" do
      local impact, id, nodes, help, target = line:match "^(.-)\t(.-)\t(.-)\t(.-)\t(.*)$"
      local bad = impact == "serious" or impact == "critical"
      count, serious = count + 1, serious + (bad and 1 or 0)
      print(("%s, %d px: %s: %s: %s (%s places, the first: %s)"):format(scheme, width, impact, id,
        help, nodes, target))
    end
    print(("%s, %d px: %d findings"):format(scheme, width, count))
  end
end
tab:close()
print(("accessibility of %s: %d serious findings"):format(page, serious))
os.exit(serious == 0 and 0 or 1)
