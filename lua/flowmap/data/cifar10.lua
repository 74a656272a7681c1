--- CIFAR-10 (Krizhevsky 2009): 32 x 32 photographs of ten classes, 50,000 for training and
-- 10,000 for testing. Binary batches: a label, then the red, green and blue planes.
-- @module flowmap.data.cifar10

local images = require "flowmap.data.packed"

return images.set {
  name = "cifar10", official = "CIFAR-10", size = 32, records = 10000,
  class_names = { "airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship",
    "truck" },
  archives = { "cifar-10-binary", "cifar-10-batches-bin", "cifar10", "cifar-10" },
  standin = "objects", standin_count = 12000, standin_train = 10000,
  url = "https://www.cs.toronto.edu/~kriz/cifar-10-binary.tar.gz",
  file = "cifar-10-binary.tar.gz",
  sha256 = "c4a38c50a1bc5f3a1c5537f2155ab9d68f9f25eb1ed8d9ddda3db29a59bca1dd",

  --- Recognise an import. Binary batches are the official form; folders of pictures are not.
  recognise = function(plan)
    if plan.count == 60000 and plan.train == 50000 and #plan.classes == 10 then
      return "CIFAR-10", false, plan.train
    end
    return ("%d images in CIFAR-10's form (not CIFAR-10)"):format(plan.count), "stand-in",
      plan.train
  end,
}
