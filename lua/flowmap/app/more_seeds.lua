--- `reproduce --until`: seeds are added until a difference of two methods, or the mean of one, is
-- known to a half width, or a cap is reached. See flowmap.measure.sequential for the rule.
-- @module flowmap.app.more_seeds

local errors = require "flowmap.base.errors"
local experiment = require "flowmap.experiment"
local grid = require "flowmap.experiment.grid"
local results = require "flowmap.report.results"
local sequential = require "flowmap.measure.sequential"

local M = {}

local FIRST, CAP = 3, 20

-- Check that the experiment will have one value per seed for an operand.
local function check(operand, exp, args)
  local names = {}
  for _, run in ipairs(experiment.runs(exp, args.profile, { 1 }, args.methods)) do
    local method = run.cfg.method:upper()
    names[#names + 1] = method
    if method == operand.method:upper() then
      for _, N in ipairs(run.cfg.nfe) do
        if N == operand.N then return end
      end
      errors.usage("--until: N = %d is not evaluated; nfe is %s", operand.N,
        table.concat(run.cfg.nfe, ", "))
    end
  end
  errors.usage("--until: %s does not run '%s'%s", exp.name, operand.method,
    errors.near(operand.method, names))
end

-- The expression, checked against the command's other options.
local function wanted(args, exp)
  local it = sequential.parse(args["until"])
  if args.seeds then errors.usage "--until chooses the seeds: use --cap, not --seeds, with it" end
  if next(grid.of(exp, args.profile)) then
    errors.usage("--until: %s has a grid, so a method has several values per seed", exp.name)
  end
  check(it.a, exp, args)
  if it.b then check(it.b, exp, args) end
  if it.b and it.a.metric == it.b.metric and it.a.N == it.b.N
    and it.a.method:upper() == it.b.method:upper() then
    errors.usage("--until: both sides are %s.%s.N%d, so the difference is always 0", it.a.metric,
      it.a.method, it.a.N)
  end
  return it
end

-- The values of an operand at seeds 1 to n; nil and the first seed without a finite one.
local function values_of(set, operand, n)
  local values = {}
  for _, run in ipairs(set:select({ method = operand.method }).runs) do
    local value = run:value(operand.metric, operand.N)
    if value - value == 0 then values[run:field("config", "seed")] = value end
  end
  for seed = 1, n do
    if not values[seed] then return nil, seed end
  end
  return values
end

-- The values, or paired differences, at seeds 1 to n; nil and the reason if one is missing.
local function sample(set, it, n)
  local out = {}
  for _, operand in ipairs { it.a, it.b } do
    local values, missing = values_of(set, operand, n)
    if not values then
      return nil, ("%s has no finite value with seed %d"):format(operand.method, missing)
    end
    for seed = 1, n do
      out[seed] = operand == it.a and values[seed] or out[seed] - values[seed]
    end
  end
  return out
end

--- Make runs until the rule stops.
-- @tparam table args of `reproduce`: until, cap, seeds, methods, profile, dry_run
-- @tparam table exp the experiment
-- @tparam function say say(format, ...) prints a line
-- @tparam function make make(seeds) makes the runs of these seeds
function M.run(args, exp, say, make)
  local it = wanted(args, exp)
  local rule = sequential.rule { first = math.min(FIRST, args.cap or CAP), cap = args.cap or CAP,
    half = it.half }
  local n, done = rule.first, 0
  while true do
    local seeds = {}
    for seed = done + 1, n do seeds[#seeds + 1] = seed end
    make(seeds)
    if args.dry_run then
      return say("--until: these are the first %d seeds; others follow as needed, up to %d", n,
        rule.cap)
    end
    local values, why = sample(results.open(experiment.root(exp.name, args.profile)), it, n)
    if not values then return say("--until: %s, so there is no interval: no more seeds", why) end
    local look = rule:look(values)
    say("%s", rule:words(look, it.name))
    if look.stop then return end
    done, n = n, look.next
  end
end

return M
