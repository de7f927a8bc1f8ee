"""What this package knows of the layout beforehand; which axes a dataset has, its dimension scales say."""

NEWEST = 2  # `walkaudit_format` of the newest layout this version reads
OLDEST = 2

SCALES = ("case", "layer", "obs", "prompt", "slot", "vindex", "payload", "projection", "offer", "choice")
OPTIONAL_SCALES = ("choice",)  # of models with experts
PROJECTIONS = ("gate", "up", "down")
# Rates over all positions, in the order they are shown; present with `logits: all` only.
RATES = ("mean_kl", "p99_kl", "flip_rate", "far_flip_rate", "mean_next_logprob_delta", "ppl_ratio")
