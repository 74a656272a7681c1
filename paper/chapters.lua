--- The book: its chapters in reading order, bibliography, style and output folder.
-- A chapter is literate Lua (an experiment) or Markdown; flowmap.report.weave documents the format.
return {
  title = "Learning flow maps via self-distillation, reproduced",
  subtitle = "Lagrangian, Eulerian and progressive self-distillation; profile: %s",
  chapters = {
    "paper/introduction.md",
    -- the paper's objectives
    "experiments/checkerboard.lua",
    "experiments/exact.lua",
    "experiments/cifar10.lua",
    "experiments/celeba.lua",
    "experiments/afhq.lua",
    -- what stands behind them
    "experiments/eulerian.lua",
    "experiments/devices.lua",
    "experiments/devices-images.lua",
    "experiments/ablations.lua",
    "experiments/weight.lua",
    -- other methods, and changed objectives
    "experiments/methods.lua",
    "experiments/switches.lua",
    "experiments/switches-images.lua",
    "experiments/objective.lua",
    "experiments/ladder.lua",
    -- what it amounts to
    "paper/reproduction.md",
    "paper/conclusion.md",
    "paper/scaling.md",
    "paper/equations.md",
    "paper/citing.md",
    "paper/references.md",
  },
  bibliography = "paper/references.json",
  style = "paper/style.css",
  output = "paper/build",
}
