--- Published facts for comparison, never printed as ours. Source:
-- Boffi, Albergo, Vanden-Eijnden, "How to build a consistency model: Learning flow maps via
-- self-distillation", NeurIPS 2025, arXiv 2505.18825, and its reference implementation.
--
-- published[experiment][metric][method][N] is a value of the paper's tables, and
-- published[experiment].reference says how the paper obtained it:
--
--     place = { [metric] = where the paper prints it }
--     estimator = { [metric] = how it was measured, or nil: the paper does not say }
--     rule = { [metric] = checkpoint rule "last" or "best", or nil: the paper does not say }
--     data = the data set as a manifest of ours would name it
--     eval_samples = { [metric] = number of samples judged, or nil }
--     eta = { [method] = diagonal fraction, where it is not that of the settings }
--     params = number of the network's parameters
--     settings = the reference configuration in the names of flowmap.experiment.settings
--
-- Every FID is the best over the saved checkpoints, chosen separately for each number of steps. The
-- seeds and the number of devices are not stated anywhere.

-- A row of the paper's tables: the values at N = 1, 2, 4, 8 and 16.
local function at_steps(n1, n2, n4, n8, n16)
  return { [1] = n1, [2] = n2, [4] = n4, [8] = n8, [16] = n16 }
end

-- What all reference configurations share, and what is added to it.
local function settings(more)
  local all = { interpolant = "linear", eta = 0.75, optimiser = "radam", b1 = 0.9, b2 = 0.999,
    eps = 1e-8, schedule = "sqrt", decay_start = 35000, ema = { 0.999, 0.9999 },
    nfe = { 1, 2, 4, 8, 16 } }
  for key, value in pairs(more) do all[key] = value end
  return all
end

local IMAGES = 204800000 -- images seen by every training

local function images(batch, more)
  more.batch, more.steps, more.lr, more.clip = batch, IMAGES // batch, 1e-2, 1
  more.net, more.model_channels, more.ema = "edm2", 128, { 0.9999, 0.999 }
  return settings(more)
end

-- The reference of an image data set.
local function fid(data, how)
  how.data, how.metric = data, "fid"
  how.place = { fid = "the table of FIDs, " .. data }
  how.estimator = { fid = "FID in the features of Inception-v3" }
  how.rule, how.eval_samples = { fid = "best" }, { fid = 50000 }
  return how
end

return {
  source = "published (Boffi et al. 2025)",
  checkerboard = {
    kl = {
      ["LSD"] = at_steps(0.0864, 0.0765, 0.0708, 0.0699, 0.0710),
      ["ESD"] = at_steps(0.0983, 0.0921, 0.0834, 0.0816, 0.0751),
      ["PSD-M"] = at_steps(0.1456, 0.0891, 0.0812, 0.0717, 0.0689),
      ["PSD-U"] = at_steps(0.1113, 0.1067, 0.0747, 0.0727, 0.0679),
    },
    reference = {
      metric = "kl", place = { kl = "the table of KL divergences, checkerboard" },
      estimator = {}, rule = {}, eval_samples = {}, eta = {},
      data = "checkerboard", params = 1054210,
      settings = settings {
        net = "mlp", width = 512, depth = 5, dataset_size = 10000000, batch = 100000,
        steps = 250000, lr = 1e-3, clip = 10, precision = "float32",
      },
    },
  },
  cifar10 = {
    fid = {
      ["LSD"] = at_steps(8.10, 4.37, 3.34, 3.33, 3.57),
      ["PSD-M"] = at_steps(12.81, 8.43, 5.96, 5.07, 4.64),
      ["PSD-U"] = at_steps(13.61, 7.95, 6.03, 5.32, 5.16),
    },
    reference = fid("CIFAR-10", {
      eta = { ["LSD"] = 0.90 }, params = 54673314,
      settings = images(512, {
        mult = { 2, 2, 2 }, num_blocks = 4, attention = { 16 }, dropout = 0.13,
        precision = "float32",
      }),
    }),
  },
  celeba = {
    fid = {
      ["LSD"] = at_steps(12.22, 5.74, 3.18, 2.18, 1.96),
      ["PSD-M"] = at_steps(19.64, 11.75, 7.89, 6.06, 5.09),
      ["PSD-U"] = at_steps(18.81, 11.02, 7.47, 6.00, 5.63),
    },
    reference = fid("CelebA", {
      eta = {}, params = 124264485,
      settings = images(512, {
        mult = { 1, 2, 3, 4 }, num_blocks = 3, attention = { 16, 8 }, dropout = 0,
        precision = "bfloat16",
      }),
    }),
  },
  afhq = {
    fid = {
      ["LSD"] = at_steps(11.19, 7.78, 7.00, 5.89, 5.61),
      ["PSD-M"] = at_steps(18.86, 14.75, 14.40, 13.26, 11.07),
      ["PSD-U"] = at_steps(14.50, 10.73, 10.99, 12.02, 11.47),
    },
    reference = fid("AFHQ v2", {
      eta = {}, params = 124264485,
      settings = images(256, {
        mult = { 1, 2, 3, 4 }, num_blocks = 3, attention = { 16, 8 }, dropout = 0,
        precision = "bfloat16",
      }),
    }),
  },
}
