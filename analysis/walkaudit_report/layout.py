"""Which axes each dataset has: what analysis/README.md lists, as far as this package reads it."""

NEWEST = 2  # `walkaudit_format` of the newest layout this version reads
OLDEST = 2

SCALES = ("case", "layer", "obs", "prompt", "slot", "vindex", "payload", "projection", "offer", "batch")
PROJECTIONS = ("gate", "up", "down")

_CELL, _ENCODING = ("case", "layer", "obs"), ("vindex", "payload", "layer", "projection")
_EXTREMES = ("min_cos", "max_rel_l2", "max_l2", "max_max_abs", "max_eta")
_NAMES = {
    ("case",): "case_name case_vindex case_path case_k case_k_all_layers case_bucket case_own_stream case_kernel case_like case_kernel_tolerance case_kernel_due case_kernel_own_due verdict fail_reasons n_obs_distinct "
               "n_non_finite n_missing n_kernel n_kernel_own n_obs first_n_obs rest_n_obs mean_rel_l2 p50_rel_l2 p95_rel_l2 p99_rel_l2 "
               "bound_cos bound_rel_l2 bound_dp bound_near_tie",
    ("vindex",): "vindex_name vindex_path vindex_files vindex_lack vindex_left_out vindex_verdict vindex_reason",
    ("payload",): "payload",
    ("prompt",): "prompt_key prompt_text prompt_rows ref_top1_id ref_top1_prob ref_margin ref_top1_text "
                 "ref_nll ref_nll_positions dump_logits_rel_l2 dump_logits_position",
    ("obs",): "obs_prompt obs_position token_id token_text",
    ("offer",): "not_offered not_offered_vindex not_offered_path",
    ("batch",): "batch_first_prompt batch_prompts",
    ("case", "projection"): "case_payload",
    ("case", "layer"): "expected_label seconds bytes_read flops layer_n_obs",
    ("case", "layer", "prompt"): "label walk_evaluations",
    ("layer", "prompt"): "dense_evaluations dump_x_rel_l2 dump_x_position dump_y_rel_l2 dump_y_position",
    ("layer", "obs"): "x_norm ref_norm h_norm",
    ("case", "prompt"): "top1_id top1_prob prob_of_ref_top1 prob_delta prob_delta_compat top1_match kl js "
                        "topk_overlap top1_text",
    ("case", "prompt", "slot"): "topk_id topk_logprob topk_text",
    ("prompt", "slot"): "ref_topk_id ref_topk_logprob ref_topk_text",
    _CELL: "cos one_minus_cos rel_l2 l2 max_abs norm_ratio max_abs_index obs_status kernel_rel_l2 kernel_own_rel_l2 eta drift",
    _ENCODING: "row_err_p50 row_err_p99 row_err_max row_err_worst row_err_checked row_nonfinite row_err_nominal",
}
AXES = {name: axes for axes, names in _NAMES.items() for name in names.split()}
for _extreme in _EXTREMES:
    for _prefix in ("", "first_", "rest_"):
        for _suffix in ("", "_at_layer", "_at_obs"):
            AXES[_prefix + _extreme + _suffix] = ("case",)
    for _suffix in ("", "_at_obs"):
        AXES["layer_" + _extreme + _suffix] = ("case", "layer")
# Rates over all positions, present with `logits: all` only.
RATES = ("mean_kl", "p99_kl", "flip_rate", "far_flip_rate", "mean_next_logprob_delta", "ppl_ratio")
for _rate in RATES:
    for _suffix in ("", "_err", "_upper"):
        AXES[_rate + _suffix] = ("case",)
AXES["obs_kl"] = ("case", "obs")
for _name in ("flip_margin", "n_next", "n_distinct", "n_clusters", "bound_mean_kl", "bound_p99_kl", "bound_flip_rate", "bound_ppl_ratio"):
    AXES[_name] = ("case",)
for _extreme in ("max_kernel_rel_l2", "max_kernel_own_rel_l2", "max_drift"):
    for _suffix in ("", "_at_layer", "_at_obs"):
        AXES[_extreme + _suffix] = ("case",)
