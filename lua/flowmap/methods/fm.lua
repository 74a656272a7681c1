--- Flow matching: the diagonal alone. Its velocity is integrated by an ODE solver:
--
--     L(t) = | v_{t,t}(I_t) - dI_t |^2
--
-- v_{t,t} tends to b_t(x) = E[dI_t | I_t = x]; off the diagonal the network learns nothing.
-- @module flowmap.methods.fm

return {
  family = "diagonal", stops = { "none" }, sampler = "euler", eta = 1.0,
  title = "Flow matching (FM)",
  cite = "Lipman et al. 2023, arXiv 2210.02747; Albergo, Vanden-Eijnden 2023, arXiv 2209.15571; "
    .. "Liu, Gong, Liu 2023, arXiv 2209.03003",
}
