-- # AFHQ-64
--
-- Animal faces at $64 \times 64$: cats, dogs and wild animals, averaged down from $512 \times 512$.
-- Network, objectives and measures are those of [CIFAR-10](#cifar-10) and [CelebA-64](#celeba-64);
-- the batch is half of theirs. Here, too, the tables name the data that a run really used; numbers
-- from a stand-in do not compare with the paper's.

local experiment = require "flowmap.experiment"
local images = require "flowmap.experiment.image_template"

local afhq = {
  name = "afhq",
  title = "AFHQ-64",
  settings = { data = "afhq", attention = { 16, 8 }, dropout = 0 },
}

-- ## Profiles
--
-- Those of the faces, but for the reference's batch: 204.8 million images here, too.

afhq.profiles = images.with(experiment.load("experiments/celeba.lua").profiles, {
  paper = { batch = 256, steps = 800000 },
})

-- ## Results
--
-- {{table fd_cnn}}
--
-- ![Samples: a row for each number of steps, eight base samples, the same in all rows; at the left,
-- images of the data set.](figure:samples)
--
-- {{table kid_cnn}}
--
-- {{table sw}}
--
-- ![Training traces.](figure:traces)

return images.experiment(afhq)
