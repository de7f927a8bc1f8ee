"""What each figure means, in one sentence: the same words in every report, page and plot."""
import dataclasses


@dataclasses.dataclass(frozen=True)
class Metric:
    """symbol: as in tables and on axes; sentence: what it is; unit "" for none."""

    symbol: str
    sentence: str
    unit: str = ""


METRICS = {
    "cos": Metric("cos", "Cosine of the angle between the outputs of the walk path and of the dense FFN on the same "
                         "input; 1 is the same direction."),
    "one_minus_cos": Metric("1 − cos", "One less the cosine of walk and dense output on the same input; 0 is the same "
                                       "direction."),
    "rel_l2": Metric("rel_L2", "Length of the difference between walk and dense output, over the length of the dense "
                               "output, on the same input."),
    "l2": Metric("L2", "Length of the difference between walk and dense output.", "activation"),
    "max_abs": Metric("max |Δ|", "Largest difference of one element of the output.", "activation"),
    "eta": Metric("η", "The same difference as the residual stream sees it: after the post-FFN norm, over the length of "
                       "the stream."),
    "drift": Metric("drift", "Distance of the case's own residual stream from the dense one after a layer, relative: all "
                             "errors so far together."),
    "growth": Metric("growth", "Error of the case's own stream after a layer, over what reached the layer and what it added (root of "
                               "the squares): above 1 the layer magnifies errors, below 1 it heals them."),
    "kernel_rel_l2": Metric("kernel", "Error of the kernel against an oracle on the same stored numbers, at the positions "
                                      "that were checked."),
    "row_err": Metric("row error", "Error of a stored row against the model's row, over the larger of the row's norm and "
                                   "the matrix's RMS row norm."),
    "prob_delta": Metric("ΔP", "Probability that the case gives the dense model's most probable next token, less the dense "
                               "model's own."),
    "kl": Metric("KL", "Kullback–Leibler divergence of the case's next-token distribution from the dense one.", "nat"),
    "js": Metric("JS", "Jensen–Shannon divergence of the two next-token distributions; at most ln 2.", "nat"),
    "top1": Metric("top-1", "Prompts whose most probable next token is the dense model's, of all prompts."),
    "margin": Metric("margin", "Logit of the dense model's first less its second choice; small is a near tie."),
    "topk_overlap": Metric("top-5 overlap", "Jaccard index of both models' five most probable next tokens; 1 is the same "
                                            "five."),
    "headroom": Metric("headroom", "Powers of ten between the figure and its bound; negative is beyond the bound."),
    "quantiles": Metric("p50, p95", "Half, or 95 %, of the observations are no larger."),
    "verdict": Metric("verdict", "The first that holds of what walkaudit checks; MEASURED has no bound to be judged by and "
                                 "counts as success, and so does UNCHECKED, whose kernel met no oracle or whose stored rows were not "
                                 "compared with the model's."),
    "bucket": Metric("bucket", "Which bounds apply: exact, quantized or fp4 by the least exact number that is read, "
                               "approximate where features are left out."),
    "k": Metric("K", "Features taken per position: all, or those with the highest gate scores."),
    "flops": Metric("GFLOP", "Floating-point operations of the case's FFN, in thousand millions."),
    "probability": Metric("p", "Probability of the most probable next token."),
    "top1_token": Metric("top-1", "The most probable next token."),
    "n_obs": Metric("n_obs", "Observations: a layer at a position of a prompt, over all cases."),
    "bytes": Metric("MB read", "Stored bytes of weights that the case reads in one pass, in millions."),
    "touched": Metric("MB touched", "Stored bytes of weights that one position's FFN needs, all layers, in millions: with K features the gate "
                                    "and K rows of up and down."),
    "seconds": Metric("seconds", "Time in the case's FFN, summed over ranks; it differs from run to run.", "s"),
    "first": Metric("position 0", "First positions are shown apart: nothing precedes them, many models put the same token "
                                  "there in every prompt, and they are often outliers of the residual stream."),
    "obs_kl": Metric("KL", "KL of the next-token distributions at every position: where the case would go on otherwise.",
                     "nat"),
    "mean_kl": Metric("mean KL", "Mean of KL over all positions of all prompts.", "nat"),
    "p99_kl": Metric("p99 KL", "99 % of all positions have a KL no larger.", "nat"),
    "flip_rate": Metric("flip rate", "Share of positions whose most probable next token is not the dense model's."),
    "far_flip_rate": Metric("far flips", "The same without flips to a token that the dense model hardly ranks below its own."),
    "mean_next_logprob_delta": Metric("Δ log p", "Mean of the case's log-probability of the text's own next token, less the "
                                                 "dense model's.", "nat"),
    "upper": Metric("limit", "Upper 95 % limit, clustered by prompt: what a bound on a rate is held against. ∞ with too few "
                         "prompts."),
    "ppl_ratio": Metric("PPL ratio", "Perplexity of the case over that of the dense model, on the prompts' own text."),
}

NOT_A_CAUSE = ("The largest figure says where to look first. It is not by itself the cause of a changed prediction: a large "
               "rel_L2 may be a small output, and a large η may be healed by later layers.")


def explain(*names):
    """[(symbol, sentence)] of metrics."""
    return [(METRICS[name].symbol, METRICS[name].sentence) for name in names]


def axis(name):
    """An axis label: symbol and unit."""
    metric = METRICS[name]
    return f"{metric.symbol} [{metric.unit}]" if metric.unit else metric.symbol
