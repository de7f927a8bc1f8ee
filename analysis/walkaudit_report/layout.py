"""What this package knows of the layout beforehand; which axes a dataset has, its dimension scales say."""

NEWEST = 5  # `walkaudit_format` of the newest layout this version reads
OLDEST = 5

SCALES = ("case", "layer", "obs", "prompt", "slot", "vindex", "payload", "projection", "offer", "choice", "expert")
OPTIONAL_SCALES = ("choice", "expert")  # of models with experts
PROJECTIONS = ("gate", "up", "down")
# What `encoding_at_projection` counts: projections, then what lies beside them in a layer with experts, or in a whole checkpoint.
STORED = PROJECTIONS + ("router", "gate of the shared expert", "bias of the router", "shared expert gate", "shared expert up", "shared expert down",
                        "bias of gate", "bias of up", "bias of down", "queries", "keys", "values", "bias of queries", "bias of keys",
                        "bias of values", "attention output", "bias of attention output", "sinks", "norm of queries", "norm of keys",
                        "norm after attention", "norm before attention", "norm before the FFN", "norm after the FFN",
                        "bias of the norm before attention", "bias of the norm before the FFN", "bias of the norm after the FFN",
                        "embedding", "positions", "output matrix", "final norm", "bias of the final norm", "bias of the norm after attention")
# Rates over all positions, in the order they are shown; present with `logits: all` only.
RATES = ("mean_kl", "p99_kl", "flip_rate", "far_flip_rate", "mean_next_logprob_delta", "ppl_ratio")
# {WAY}_rel_l2: how a server was asked for the same x once more, in words.
WAYS = {"repeat": "asked again", "order": "positions in the opposite order", "alone": "one position alone", "alike": "another server"}
