--- The contents of a source of images, decided from its file names: which files are taken, in which
-- order, with which labels; which part is for training; and its title in tables and figures.
-- @module flowmap.data.packed.plan

local errors = require "flowmap.base.errors"

local M = {}

local EXTENSIONS = { jpg = true, jpeg = true, png = true }
local TEST = { test = true, val = true, valid = true, validation = true }

local function basename(name) return name:match "[^/]*$" end

-- Files that programs leave beside images; a leading dot also marks macOS's copies.
local function hidden(name) return name:find "^%." or name:find "/%." or name:find "__MACOSX/" end

-- "train/cat/1.png" -> "cat", false; "test/1.png" -> nil, true
local function sort_of(name)
  local folders, test = {}, false
  for part in name:gmatch "([^/]+)/" do
    local lower = part:lower()
    if TEST[lower] then test = true elseif lower ~= "train" then folders[#folders + 1] = part end
  end
  return folders[#folders], test
end

-- CIFAR-10's own format: five files to train on and one to test.
local function batches(names, spec)
  local found, places, labels = {}, {}, {}
  for k, name in ipairs(names) do
    local number = basename(name):match "^data_batch_([1-5])%.bin$"
    local at = number and tonumber(number) or basename(name) == "test_batch.bin" and 6
    if at and not hidden(name) then
      if found[at] then
        errors.data("%s and %s are the same batch of CIFAR-10, expected each once", found[at], name)
      end
      found[at], places[k], labels[k] = name, (at - 1) * spec.records, 0
    end
  end
  if next(found) == nil then return nil end
  for at = 1, 6 do
    if not found[at] then
      errors.data("%s is missing, expected data_batch_1.bin to data_batch_5.bin and test_batch.bin",
        at == 6 and "test_batch.bin" or ("data_batch_%d.bin"):format(at))
    end
  end
  return { places = places, labels = labels, count = 6 * spec.records, train = 5 * spec.records,
    classes = spec.class_names, take = { records = spec.records } }
end

local function names_of(set)
  local list = {}
  for name in pairs(set) do list[#list + 1] = name end
  table.sort(list)
  return list
end

-- The names of the classes, if there are two folders of images or more; `seen` has one image of
-- each folder, and under "" one that is in none.
local function classes_of(seen)
  local loose = seen[""]
  seen[""] = nil
  local classes = names_of(seen)
  if #classes < 2 then return {} end
  if loose then
    errors.data("%s is in no folder of a class, of which there are %d (%s, ...); remove it, or "
      .. "move it into one", loose, #classes, classes[1])
  elseif #classes > 256 then
    errors.data("%d folders of images found, expected at most 256 classes", #classes)
  end
  return classes
end

-- Pictures: the training part first, each part sorted by name; labels by folder.
local function pictures(names, spec)
  local order, sorts, tests, seen, counts = {}, {}, {}, {}, {}
  for k, name in ipairs(names) do
    local extension = basename(name):match "%.(%w+)$"
    if extension and EXTENSIONS[extension:lower()] and not hidden(name) then
      order[#order + 1] = k
      sorts[k], tests[k] = sort_of(name)
      seen[sorts[k] or ""] = name
    end
  end
  local classes, label = classes_of(seen), {}
  for i, name in ipairs(classes) do label[name] = i - 1 end
  table.sort(order, function(a, b)
    if tests[a] ~= tests[b] and not spec.all_train then return tests[b] end
    return names[a] < names[b]
  end)
  local places, labels, train = {}, {}, 0
  for at, k in ipairs(order) do
    places[k], labels[k] = at - 1, label[sorts[k]] or 0
    if spec.all_train or not tests[k] then train = train + 1 end
    local key = (tests[k] and "test/" or "train/") .. (sorts[k] or "")
    counts[key] = (counts[key] or 0) + 1
  end
  if train == 0 then train = #order end -- only a test part: train on it
  return { places = places, labels = labels, count = #order, train = train, classes = classes,
    counts = counts, take = spec.take }
end

--- Look at the files of a source.
-- @tparam {string,...} names the files, in the source's order
-- @tparam table set a data set's description, see flowmap.data.packed
-- @tparam string path for sentences
-- @treturn table { places =, labels = of each file; count =, train =, classes = {name, ...},
--   take = how to read, title =, standin = }
function M.make(names, set, path)
  local plan = set.records and batches(names, set) or pictures(names, set)
  if plan.count == 0 then
    errors.data("%s holds no images: JPEG or PNG files%s expected", path,
      set.records and ", or CIFAR-10's binary batches," or "")
  end
  plan.title, plan.standin, plan.train = set.recognise(plan, path)
  return plan
end

return M
