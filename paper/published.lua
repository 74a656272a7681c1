--- Published numbers for comparison, never printed as ours. Source:
-- Boffi, Albergo, Vanden-Eijnden, "How to build a consistency model: Learning flow maps via
-- self-distillation", NeurIPS 2025, arXiv 2505.18825. The paper does not publish its KL
-- estimator. Every FID is the best over the saved checkpoints, chosen separately for each number of
-- steps. On CIFAR-10, LSD was trained with diagonal fraction 0.90 and PSD with 0.75.
-- Index: published[experiment][metric][method][N].

-- A row of the paper's tables: the values at N = 1, 2, 4, 8 and 16.
local function at_steps(n1, n2, n4, n8, n16)
  return { [1] = n1, [2] = n2, [4] = n4, [8] = n8, [16] = n16 }
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
  },
  cifar10 = {
    fid = {
      ["LSD"] = at_steps(8.10, 4.37, 3.34, 3.33, 3.57),
      ["PSD-M"] = at_steps(12.81, 8.43, 5.96, 5.07, 4.64),
      ["PSD-U"] = at_steps(13.61, 7.95, 6.03, 5.32, 5.16),
    },
  },
  celeba = {
    fid = {
      ["LSD"] = at_steps(12.22, 5.74, 3.18, 2.18, 1.96),
      ["PSD-M"] = at_steps(19.64, 11.75, 7.89, 6.06, 5.09),
      ["PSD-U"] = at_steps(18.81, 11.02, 7.47, 6.00, 5.63),
    },
  },
  afhq = {
    fid = {
      ["LSD"] = at_steps(11.19, 7.78, 7.00, 5.89, 5.61),
      ["PSD-M"] = at_steps(18.86, 14.75, 14.40, 13.26, 11.07),
      ["PSD-U"] = at_steps(14.50, 10.73, 10.99, 12.02, 11.47),
    },
  },
}
