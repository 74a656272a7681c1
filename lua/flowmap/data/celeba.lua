--- CelebA (Liu et al. 2015): aligned photographs of faces, 178 x 218; the central 140 x 140 pixels
-- averaged to 64 x 64. The official training part is the first 162,770 of 202,599 images.
-- @module flowmap.data.celeba

local images = require "flowmap.data.packed"

return images.set {
  name = "celeba", official = "CelebA", size = 64,
  archives = { "img_align_celeba", "celeba" },
  take = { height = 218, width = 178, crop = 140 },
  standin = "faces", standin_count = 5000, standin_train = 5000,
  file = "img_align_celeba.zip",
  by_hand = "CelebA's site hands it out through Google Drive, which asks questions: open "
    .. "https://mmlab.ie.cuhk.edu.hk/projects/CelebA.html, follow 'Align&Cropped Images' and save "
    .. "img_align_celeba.zip",

  --- Recognise an import by its number of images.
  recognise = function(plan)
    if plan.count == 202599 then return "CelebA", false, 162770 end
    if plan.count == 2974 then return "open faces (stand-in for CelebA)", "stand-in", plan.train end
    return ("%d faces in CelebA's form (not CelebA)"):format(plan.count), "stand-in", plan.train
  end,
}
