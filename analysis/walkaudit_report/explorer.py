"""What a page's maps hold: every case at each layer and position of the prompts shown, a byte per value.

A byte is 0 for exactly 0, 255 for what is not finite, else 1 to 254: 1 + STEPS times the decades above the scale's low end, which
lies DECADES below the largest value of any case. So all cases have one scale, and a value is known to four per cent.
"""
import base64
import math
import zlib

import numpy as np

from . import metrics, stats, text

DECADES, STEPS = 8, 253 / 8  # of a scale; steps of a decade
CELLS = 2_600_000  # values of one quantity at most; beyond it several positions share a column
BYTES = 3_200_000  # of all maps together, encoded: further quantities are left out
QUANTITIES = ("rel_l2", "obs_kl", "eta", "drift")
NOT_FINITE = 255


def build(result, shown, cases):
    """The data of page.js, or None without cases. shown: prompts, by index; cases: indices of those that ran."""
    layers = result.size["layer"]
    rows = [result.rows(prompt) for prompt in shown]
    if not cases or not layers or not sum(rows):
        return None
    step = step_for(rows, len(cases) * layers)
    spans = [spans_of(count, step) for count in rows]
    quantities, used = [], 0
    for name in QUANTITIES:
        if name == "obs_kl" and not result.has(name):
            continue
        high = highest(result, name, cases, shown)
        maps = [encode(name, result, case, shown, step, high) for case in cases]
        used += sum(map(len, maps))
        if quantities and used > BYTES:
            break
        metric = metrics.METRICS[name]
        quantities.append({"name": name, "symbol": metrics.axis(name), "sentence": metric.sentence, "high": high,
                           "rows": 1 if name == "obs_kl" else layers, "maps": maps})
    return {"layers": layers, "decades": DECADES, "steps": STEPS, "step": step, "cases": list(cases),
            "names": [text.plain(result.cases[case]) for case in cases],
            "prompts": [{"key": text.plain(result.prompts[prompt], 40), "rows": count, "columns": len(span)}
                        for prompt, count, span in zip(shown, rows, spans)],
            "tokens": [tokens_of(result, prompt, span) for prompt, span in zip(shown, spans)], "quantities": quantities}


def step_for(rows, values):
    """Positions of a column, the fewest with which the values of a quantity stay within CELLS."""
    step = 1
    while values * sum(len(spans_of(count, step)) for count in rows) > CELLS and step < max(rows):
        step *= 2
    return step


def spans_of(count, step):
    """First positions of a prompt's columns: position 0 has one of its own."""
    return [0, *range(1, count, step)] if count else []


def tokens_of(result, prompt, span):
    """Texts of the first position of each column."""
    start = int(result.starts[prompt])
    if not span:
        return []
    step = span[2] - span[1] if len(span) > 2 else 1
    words = [*result.read("token_text", slice(start, start + 1)), *result.read("token_text", slice(start + 1, start + span[-1] + 1, step))]
    return [text.visible(str(word), 20) for word in words]


def window(result, name, case, prompt, first, last):
    """[row, position] of one case and prompt; KL has one row."""
    if name != "obs_kl":
        return np.abs(result.window(name, case, prompt, first, last))
    start = int(result.starts[prompt])
    stop = min(start + last, int(result.starts[prompt + 1]))
    return np.abs(result.read(name, (case, slice(start + first, stop))))[None, :]


def pieces(result, prompt, step):
    """(first, last) of a prompt's positions: position 0, then blocks of whole columns that fit into memory."""
    count = result.rows(prompt)
    block = step * max(1, (1 << 20) // (step * max(result.size["layer"], 1)))
    yield 0, 1
    for start in range(1, count, block):
        yield start, min(start + block, count)


def highest(result, name, cases, shown):
    """The largest finite value of any case; 1 where there is none but zeros."""
    found = 0.0
    for case in cases:
        for prompt in shown:
            for first, last in pieces(result, prompt, 1) if result.rows(prompt) else ():
                values = window(result, name, case, prompt, first, last)
                found = max(found, float(values[np.isfinite(values)].max(initial=0.0)))
    return found or 1.0


def encode(name, result, case, shown, step, high):
    """All prompts side by side, row by row: bytes, deflated, in base64."""
    columns = [to_bytes(stats.fold(window(result, name, case, prompt, first, last), step if first else 1), high)
               for prompt in shown if result.rows(prompt) for first, last in pieces(result, prompt, step)]
    return base64.b64encode(zlib.compress(np.hstack(columns).tobytes(), 9)).decode()


def to_bytes(values, high):
    """The codes of values ≥ 0 below a high end."""
    with np.errstate(divide="ignore", invalid="ignore"):
        steps = np.round(1 + STEPS * (np.log10(values) - math.log10(high) + DECADES))
    codes = np.where(values == 0, 0, np.clip(np.where(np.isfinite(steps), steps, 1), 1, NOT_FINITE - 1))
    return np.where(np.isfinite(values), codes, NOT_FINITE).astype(np.uint8)
