--- AFHQ v2 (Choi et al. 2020): faces of cats, dogs and wild animals, 512 x 512, averaged to
-- 64 x 64. As in the paper, all 15,803 images are trained on, including those of the test folders.
-- @module flowmap.data.afhq

local images = require "flowmap.data.packed"

-- Number of images per class, training and test parts together.
local function of(plan, class)
  return (plan.counts["train/" .. class] or 0) + (plan.counts["test/" .. class] or 0)
end

return images.set {
  name = "afhq", official = "AFHQ", size = 64, all_train = true,
  archives = { "afhq_v2", "afhq" },
  standin = "animals", standin_count = 6000, standin_train = 6000,
  url = "https://www.dropbox.com/s/vkzjokiwof5h8w6/afhq_v2.zip?dl=1", file = "afhq_v2.zip",

  --- Recognise an import. Versions 1 and 2 are told apart by their numbers of images per class.
  recognise = function(plan)
    local cat, dog, wild = of(plan, "cat"), of(plan, "dog"), of(plan, "wild")
    local all = cat + dog + wild == plan.count
    if all and cat == 5558 and dog == 5169 and wild == 5076 then
      return "AFHQ v2", false, plan.train
    elseif all and cat == 5653 and dog == 5239 and wild == 5238 then
      return "AFHQ v1", "stand-in", plan.train
    elseif all and cat == 5153 and dog + wild < 100 then
      return "AFHQ v1, cats", "stand-in", plan.train
    end
    return ("%d images in AFHQ's form (not AFHQ)"):format(plan.count), "stand-in", plan.train
  end,
}
