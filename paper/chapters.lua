--- The book: its chapters in reading order, bibliography, style and output folder.
-- A chapter is literate Lua (an experiment) or Markdown; flowmap.report.weave documents the format.
return {
  title = "Learning flow maps via self-distillation, reproduced",
  subtitle = "Lagrangian, Eulerian and progressive self-distillation; profile: %s",
  chapters = {
    "paper/introduction.md",
    "experiments/checkerboard.lua",
    "experiments/objective.lua",
    "experiments/ablations.lua",
    "experiments/devices.lua",
    "experiments/exact.lua",
    "experiments/methods.lua",
    "experiments/eulerian.lua",
    "experiments/switches.lua",
    "experiments/cifar10.lua",
    "experiments/celeba.lua",
    "experiments/afhq.lua",
    "experiments/ladder.lua",
    "experiments/switches-images.lua",
    "experiments/devices-images.lua",
    "experiments/weight.lua",
    "paper/references.md",
  },
  bibliography = "paper/references.json",
  style = "paper/style.css",
  output = "paper/build",
}
