--- Does the gate stay calm? Judges unchanged code 40 times with 40 sets of new seeds, as tier 3
-- does, and writes every outcome to clean.csv. New values are then independent of the stored ones,
-- which is the case for which the level of the test is computed: 1/200 for all studies together.
-- Both looks are always taken.
--
--     ./flowmap lua tests/regression/clean.lua [STUDY[:FIRST-LAST]...]
--
-- STUDY: default: all; FIRST and LAST: repeats, default: 1 to 40. Repeats that stand in clean.csv
-- are not trained again.
-- @module clean

package.path = "tests/regression/?.lua;" .. package.path

local core = require "flowmap.core"
local files = require "flowmap.base.files"
local fm = require "flowmap"
local gate = require "gate"
local quality = require "quality"
local store = require "store"

local PATH, REPEATS, FIRST, APART = "tests/regression/clean.csv", 40, 10000, 100
local HEAD = "study,repeat,seeds,question,T,limit,alarm"

-- The repeats that are there: "STUDY REPEAT" -> true; the text without a head.
local function read()
  local done, lines = {}, {}
  for line in (files.read_if_there(PATH) or ""):gmatch "[^\n]+" do
    local study, number = line:match "^([^,]+),(%d+),"
    if study then
      done[study .. " " .. number], lines[#lines + 1] = true, line
    end
  end
  return done, lines
end

-- The lines of one repeat.
local function judge(name, number, questions, bank)
  local plan, lines = gate.plan(name), {}
  local looks, alarm = quality.decide(questions, function(i)
    return gate.trained(plan, FIRST + APART * number + i)
  end, bank.runs, -math.huge)
  for _, question in ipairs(questions) do
    local it = looks[question.name]
    lines[#lines + 1] = ("%s,%d,%d,%s,%.3f,%.3f,%s"):format(name, number, it.n, question.name, it.T,
      question.bounds[it.n], it.alarm and "yes" or "no")
  end
  return lines, alarm
end

local function append(new)
  local _, lines = read() -- another process may have written
  table.move(new, 1, #new, #lines + 1, lines)
  fm.write_file(PATH, HEAD .. "\n" .. table.concat(lines, "\n") .. "\n")
end

local function main(names)
  core.set_threads(1)
  local bank, own = store.read().quality, {}
  for _, question in ipairs(quality.questions(bank)) do
    own[question.study] = own[question.study] or {}
    table.insert(own[question.study], question)
  end
  for _, word in ipairs(#names > 0 and names or fm.tree.keys(bank)) do
    local name, first, last = word:match "^([^:]+):(%d+)-(%d+)$"
    name = name or word
    for number = first and tonumber(first) or 1, last and tonumber(last) or REPEATS do
      if not read()[name .. " " .. number] then
        local lines, alarm = judge(name, number, own[name], bank[name])
        append(lines)
        print(("%s, repeat %d of %d: %s"):format(name, number, REPEATS,
          alarm and "ALARM" or "no alarm"))
      end
    end
  end
end

main { ... }
