--- The command `graph`: what the chapters are made from, as a table and as SVG.
-- @module flowmap.app.show_graph

local chapters = require "flowmap.experiment.chapters"
local columns = require "flowmap.app.columns"
local core = require "flowmap.core"
local errors = require "flowmap.base.errors"
local files = require "flowmap.base.files"
local folder = require "flowmap.runs.folder"
local graph = require "flowmap.report.graph"
local lineage = require "flowmap.report.lineage"
local results = require "flowmap.report.results"

local M = {}

--- The command.
-- @tparam table args experiments, profile, results (a folder of published sets), out
function M.run(args)
  if not args.out:find "%.svg$" then
    errors.usage("graph: --out %s: expected the name of an SVG file, FILE.svg", args.out)
  end
  -- The page's folder is made where it is missing, unlike one of the user's.
  local page = chapters.book().output
  if args.out:match "^(.*)/[^/]*$" ~= page or files.exists(page) then
    folder.check_output(args.out)
  end
  local published = args.results and args.results:gsub("(.)/+$", "%1")
  local list, left = lineage.chapters({ profile = args.profile, published = published },
    #args.experiments > 0 and args.experiments or nil)
  if #list == 0 then
    errors.data("graph: there are no results of %s", published or "the profile " .. args.profile)
  end
  local rows = table.move(graph.rows(list), 1, #list, 2, { graph.heads })
  io.stdout:write(columns.text(rows, { right = {}, total = core.columns(1),
    wraps = { [2] = true, [3] = true, [4] = true } }))
  if #left > 0 then io.stdout:write("without results: ", table.concat(left, ", "), "\n") end
  results.write_file(args.out, graph.svg(list))
  io.stdout:write("written: ", args.out, "\n")
end

return M
