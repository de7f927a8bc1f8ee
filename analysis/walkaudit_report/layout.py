"""What this package knows of the layout beforehand; which axes a dataset has, its dimension scales say."""

NEWEST = 4  # `walkaudit_format` of the newest layout this version reads
OLDEST = 4

SCALES = ("case", "layer", "obs", "prompt", "slot", "vindex", "payload", "projection", "offer", "choice", "expert")
OPTIONAL_SCALES = ("choice", "expert")  # of models with experts
PROJECTIONS = ("gate", "up", "down")
# What `encoding_at_projection` counts: projections, then what a layer with experts has beside them.
STORED = PROJECTIONS + ("router", "gate of the shared expert", "bias of the router", "shared expert gate", "shared expert up", "shared expert down",
                        "bias of gate", "bias of up", "bias of down")
# Rates over all positions, in the order they are shown; present with `logits: all` only.
RATES = ("mean_kl", "p99_kl", "flip_rate", "far_flip_rate", "mean_next_logprob_delta", "ppl_ratio")
