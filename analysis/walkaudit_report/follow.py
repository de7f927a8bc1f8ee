"""What a reader follows up: the places where a case differs most, each with its text, norms and next tokens; and the tokens
that flipped."""
from . import stats, text, worst

CONTEXT = 12  # tokens before a place, and half as many after it
FLIPS, MORE_FLIPS = 6, 240  # flipped tokens of a case at least, and of all cases together at most
EXTREMES = (("rest", "max_rel_l2"), ("rest", "max_eta"), ("all", "max_drift"), ("first", "max_rel_l2"))  # whose places are shown


def places(result, cases):
    """[{case, layer, prompt, position, obs, before, token, after, figures, norms, remark, next}] in the order of the cases,
    each place of a case once. cases: as described."""
    found, medians = {}, {}
    for at, case in enumerate(cases):
        for positions, name in EXTREMES if "extremes" in case else ():
            place = case["extremes"][positions][name]
            if place is not None and place["value"] != 0.0:
                found.setdefault((at, place["layer"], place["obs"]), None)
    items = [worst.describe(result, "rel_l2", (0.0, *key, 1), medians) for key in found]
    tokens = worst.next_at(result, [(item.case, item.place) for item in items])
    return [describe(result, item, said) for item, said in zip(items, tokens)]


def describe(result, item, said):
    place = item.place
    return {"case": item.case, "layer": place.layer, "prompt": place.key, "position": place.position, "obs": place.obs,
            **around(result, place), "figures": dict(item.figures), "norms": dict(zip(("x", "y", "h"), item.norms)),
            "remark": worst.remark(item), "next": said}


def around(result, place, before=CONTEXT):
    """The text around a place, its own token apart: visible forms, control characters as escapes."""
    start, stop = int(result.starts[place.prompt]), int(result.starts[place.prompt + 1])
    first, last = max(place.obs - before, start), min(place.obs + 1 + before // 2, stop)
    words = [text.visible(str(word), 24) for word in result.read("token_text", slice(first, last))]
    at = place.obs - first
    return {"before": ("…" if first > start else "") + "".join(words[:at]), "token": words[at],
            "after": "".join(words[at + 1:]) + ("…" if last < stop else "")}


def flips(result, cases):
    """[{case, prompt, position, obs, before, token, after, next}], by case, those of the largest KL first: at most FLIPS of each
    case, more where the cases are few. All positions with `logits: all`, else each prompt's last."""
    out = []
    ran = [at for at, case in enumerate(cases) if "extremes" in case]
    limit = max(FLIPS, MORE_FLIPS // max(len(ran), 1))
    for at in ran:
        items = worst.rank(result, "kl", [at], limit, lambda _: None)["flipped"]
        out += [{"case": at, "prompt": item.place.key, "position": item.place.position, "obs": item.place.obs,
                 **around(result, item.place), "next": worst.said(item)} for item in items]
    return out
