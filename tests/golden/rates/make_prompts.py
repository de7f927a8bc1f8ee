"""make_prompts.py RESULT.h5… > prompts.tsv: what each prompt of results with `logits: all` adds to the rates of each case.

From `sh jobs/baselines.sh`, or a job of some of its vindexes. Positions whose tokens from the prompt's start an earlier prompt has
too are left out. Columns: case, prompt, positions, sum of KL, positions above the case's 99th percentile of KL, flips, positions
with a next token, sum of the reference's less the case's log-probability of it.
"""
import pathlib
import sys

import h5py
import numpy as np


def new_positions(prompt, ids):
    """[obs] True where the tokens up to the position are met for the first time."""
    seen, new = set(), []
    for at, number in enumerate(prompt):
        prefix = (prefix if at and prompt[at - 1] == number else ()) + (int(ids[at]),)
        new.append(prefix not in seen)
        seen.add(prefix)
    return np.array(new)


def main(paths):
    print("# " + " ".join(["case", "prompt", "n", "kl", "above_p99", "flips", "n_next", "loss"]))
    for path in paths:
        with h5py.File(path) as file:
            print(f"# {pathlib.Path(path).name}, written by {np.ravel(file.attrs['source'])[0]}")
            prompt, new = file["obs_prompt"][...], new_positions(file["obs_prompt"][...], file["token_id"][...])
            keys = [key.decode() for key in file["prompt_key"][...]]
            reference = file["obs_ref_next_logprob"][...]
            for case, name in enumerate(file["case_name"][...]):
                kl, own = file["obs_kl"][case], file["obs_next_logprob"][case]
                above, flips = kl > np.quantile(kl[new], 0.99), file["obs_top1_match"][case] != 1
                after = new & ~np.isnan(reference)
                for p, key in enumerate(keys):
                    of, then = new & (prompt == p), after & (prompt == p)
                    print(f"{pathlib.Path(path).stem.split('-', 1)[1]}/{name.decode()}", key, of.sum(), f"{kl[of].sum():.9g}", above[of].sum(),
                          flips[of].sum(), then.sum(), f"{(reference - own)[then].sum():.9g}", sep="\t")


if __name__ == "__main__":
    main(sys.argv[1:])
