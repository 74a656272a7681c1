--- The book: its chapters in reading order and what the page is made with.
-- Literate Lua (an experiment) and Markdown files; flowmap.report.weave says how they are written.
return {
  title = "Learning flow maps via self-distillation, reproduced",
  subtitle = "Lagrangian, Eulerian and progressive self-distillation; profile: %s",
  chapters = {
    "paper/introduction.md",
    "experiments/checkerboard.lua",
    "experiments/ablations.lua",
    "experiments/cifar10.lua",
    "experiments/celeba.lua",
    "experiments/afhq.lua",
    "paper/references.md",
  },
  bibliography = "paper/references.json",
  style = "paper/style.css",
  output = "paper/build",
}
