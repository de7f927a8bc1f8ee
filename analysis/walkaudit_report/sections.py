"""What a report of one result shows, in which order: from the facts to a document."""
import math

from . import findings, layout, metrics, text
from .document import Bullets, Cell, Column, Document, Fact, Pre, Section, Table, Terms, Text

KEY, TOKEN, CONTEXT = 24, 16, 48
SUMMARISED = ("verdict", "bucket", "cos", "rel_l2", "headroom", "eta", "prob_delta", "kl", "top1", "bytes", "seconds")


def build(facts, pictures=(), judged=""):
    """pictures: [(Section title, anchor, [blocks])] in order; judged: `walkaudit verdict`'s answer by other bounds."""
    sections = case_sections(facts, pictures) if facts["cases"] else []
    if judged:
        sections.append(Section("Judged by other bounds", "judged", [Pre(judged)]))
    sections.append(Section("What was not run", "not-offered", not_offered(facts)))
    sections.append(Section("Provenance", "provenance", provenance(facts)))
    return Document(facts["title"] or facts["result"], lead(facts), sections,
                    [(text.plain(case["name"]), text.plain(case["vindex"] or "")) for case in facts["cases"]])


def case_sections(facts, pictures):
    sections = [Section("Verdicts", "verdicts", [findings_table(facts["findings"], facts["cases"]), matrix(facts), *failures(facts)]),
                Section("Cases", "summary", [summary_table(facts), Terms(metrics.explain(*SUMMARISED))]),
                Section("Where the differences are", "places", [rest_table(facts), first_table(facts), Text(metrics.NOT_A_CAUSE)],
                        sections=[Section("These places in their text", "contexts", [fact(facts, at) for at in range(len(facts["places"]))],
                                          folded=True)]),
                Section("Tokens that flipped", "flips", flip_blocks(facts))]
    if any(case.get("rates") for case in facts["cases"]):
        sections.append(Section("Over all positions", "rates", [rates_table(facts)]))
    if any(case["served"] for case in facts["cases"]):
        sections.append(Section("Running servers", "served", served_blocks(facts)))
    if facts["routing"]:
        sections.append(Section("Experts", "routing", routing_blocks(facts)))
    return sections + [
        *pictures, Section("What ran", "basis", [basis_table(facts), cost_table(facts)]),
        Section("Next tokens of the dense model", "prompts", prompt_blocks(facts)),
        Section("Cases in detail", "cases", [Text("Every case by prompt and by layer.")],
                sections=[case_section(facts, at) for at in range(len(facts["cases"]))])]


# --- Head


def headline(summary):
    """"3 cases: 2 pass, 0 measured, 1 fails"; those that are unchecked are named where there are any."""
    passed, measured, failed = (summary[name] for name in ("passed", "measured", "failed"))
    words = (f"{text.plural(summary['cases'], 'case')}: {passed} {'passes' if passed == 1 else 'pass'}, {measured} measured"
             f"{' (no bound for their bucket)' if measured else ''}, "
             f"{str(summary['unchecked']) + ' unchecked, ' if summary['unchecked'] else ''}{failed} {'fails' if failed == 1 else 'fail'}")
    if summary["unaudited"]:
        words += f"; vindexes of which no case ran: {summary['unaudited']}"
    return words + ("; no case ran, and so the audit fails" if summary["not_run"] == summary["cases"] else "")


def formats(job):
    return ", ".join(f"{name} {value}" for name, value in job["source_format"].items() if value)


def lead(facts):
    job, size = facts["job"], facts["size"]
    blocks = [Text(headline(facts["summary"]) + ".", "good" if facts["summary"]["success"] else "warning"),
              Text(f"Model {text.plain(str(job['model']))} ({job['family']}, semantics {job['semantics']}), FFN stored as "
                   f"{formats(job)}. {text.plural(size['layers'], 'layer')}, {text.plural(size['prompts'], 'prompt')}, "
                   f"{text.plural(size['observations'], 'observation')} per layer; bounds: {job['bounds']}.")]
    blocks += reference_words(facts["reference"])
    if job["requantised"]:
        blocks.append(Text("Requantised: the vindexes are made from a model of 6 bits or fewer, so they are compared with "
                           "those numbers and not with the original weights.", "note"))
    blocks += [Text(f"Warning: {text.plain(warning)}.", "warning") for warning in job["warnings"]]
    return blocks


def reference_words(reference):
    """The dense model judged by the prompts' own text; the warning is the file's."""
    value = "no position was measured" if reference["perplexity"] is None and not reference["positions"] else (
        f"{'no number' if reference['perplexity'] is None else format(reference['perplexity'], '.2f')} on "
        f"{reference['positions']} of the prompts' own tokens")
    blocks = [Text(f"Perplexity of the dense model: {value}.")]
    if reference["warning"]:
        blocks.append(Text(f"Warning: {reference['warning']}", "warning"))
    if reference["agreement"]:
        drifts = reference["verdict"] == "REFERENCE"
        blocks.append(Text(f"The dense model{', REFERENCE:' if drifts else ''} {text.plain(reference['agreement'])}.",
                           "warning" if drifts else "good"))
    return blocks


# --- Cells


def verdict_cell(verdict):
    return Cell(verdict, kind=findings.kind(verdict))


def figure_cell(value):
    return Cell(text.figure(value), sort=sortable(value))


def sortable(value):
    """What is no number is worse than any."""
    return None if value is None else math.inf if math.isnan(value) else value


def place_words(place, layer=True):
    """"L12 code/5 ' x'"."""
    where = f"{text.plain(place['prompt'], KEY)}/{place['position']} {text.token(place['token'], TOKEN)}"
    return f"L{place['layer']} {where}" if layer else where


def place_cell(facts, place, case):
    """A place links to its context if the page has it, else to its layer among the case's details."""
    if place is None or place["value"] == 0.0:  # nothing differs: no place is worse
        return Cell(text.ABSENT)
    known = next((f"#place-{at}" for at, found in enumerate(facts["places"])
                  if (found["case"], found["layer"], found["obs"]) == (case, place["layer"], place["obs"])), "")
    return Cell(place_words(place), sort=place["layer"], link=known or f"#case-{case}-layer-{place['layer']}")


def position_cell(place):
    """The same among the layers of a case."""
    return Cell(text.ABSENT if place is None or place["value"] == 0.0 else place_words(place, layer=False))


def value_of(extreme):
    return None if extreme is None else extreme["value"]


def each(facts):
    """Of a table with a row per case: what each row is about."""
    return [(at,) for at in range(len(facts["cases"]))]


def case_cell(facts, at):
    return Cell(text.plain(facts["cases"][at]["name"]), link=f"#case-{at}")


def column_list(*titles):
    """Titles; those that begin with "=" are of numbers."""
    return [Column(title.lstrip("="), title.startswith("=")) for title in titles]


# --- Verdicts


def findings_table(found, cases):
    """What was found of each vindex, in words; failing ones first."""
    rows = [[Cell(text.plain(one["name"])), verdict_cell(one["verdict"]), Cell(one["words"])] for one in found]
    return Table("What was found, vindex by vindex", column_list("vindex", "verdict", "in words"), rows,
                 about=[tuple(one["cases"]) for one in found])


def path_words(case):
    """As the case has it: names of August differ from the file's words for the same path."""
    word = findings.path_word(case["name"], case["path"])
    return word + ("" if case["k"] is None else f", K {case['k']}")


def matrix(facts):
    """Vindexes against paths: each cell the verdict and, below it, what a reader asks next. Failing vindexes first."""
    paths = list(dict.fromkeys(map(path_words, facts["cases"])))
    rows = []
    for one in facts["findings"]:
        own = {}
        for at in one["cases"]:
            own.setdefault(path_words(facts["cases"][at]), at)
        rows.append([Cell(text.plain(one["name"])), *(matrix_cell(facts, own.get(path)) for path in paths)])
    return Table("Vindexes and paths; a cell leads to its case", column_list("vindex", *map(text.plain, paths)), rows,
                 about=[tuple(one["cases"]) for one in facts["findings"]], tiles=True)


def matrix_cell(facts, at):
    if at is None:
        return Cell(text.ABSENT, note="not run")
    case = facts["cases"][at]
    return Cell(case["verdict"], kind=findings.kind(case["verdict"]), note=findings.brief(case), link=f"#case-{at}", about=(at,))


# --- Tables


def summary_table(facts):
    columns = column_list("case", "verdict", "bucket", "=min cos", "=max rel_L2", "=headroom", "=max η", "=|ΔP|", "=KL",
                          "=top-1", "=MB read", "=seconds")
    rows = []
    for at, case in enumerate(facts["cases"]):
        rows.append([case_cell(facts, at), verdict_cell(case["verdict"]), Cell(case["bucket"]),
                     *summary_cells(case), Cell(text.megabytes(case["cost"]["bytes"]), sort=case["cost"]["bytes"]),
                     Cell(text.seconds(case["cost"]["seconds"]), sort=case["cost"]["seconds"])])
    return Table("Verdicts, and the largest differences from the dense model over all layers and positions", columns, rows,
                 about=each(facts))


def summary_cells(case):
    if "extremes" not in case:
        return [Cell(text.ABSENT)] * 7
    extremes, token = case["extremes"]["all"], case["next_token"]
    cos, least = value_of(extremes["min_cos"]), least_headroom(case)
    dp, kl = (None if token[name] is None else abs(token[name]["value"]) for name in ("prob_delta", "kl"))
    return [Cell(text.cosine(cos), sort=sortable(cos)), figure_cell(value_of(extremes["max_rel_l2"])),
            Cell(text.decades(least), sort=least), figure_cell(value_of(extremes["max_eta"])), figure_cell(dp),
            figure_cell(kl), Cell(f"{token['top1_same']}/{token['of']}", sort=token["top1_same"])]


def least_headroom(case):
    known = [value for value in case["headroom"].values() if value is not None]
    return min(known) if known else None


def failures(facts):
    """Reasons of what failed, most severe first, as the file has them; the verdict is the kind of the first."""
    order = sorted(range(len(facts["cases"])), key=lambda at: findings.rank(facts["cases"][at]["verdict"]))
    items = [Cell(f"{text.plain(case['name'])}: {case['verdict'] + ': ' if first == 0 else ''}{reason}",
                  kind="bad" if first == 0 and findings.kind(case["verdict"]) == "bad" else "", about=(at,))
             for at in order for case in (facts["cases"][at],) for first, reason in enumerate(case["reasons"])]
    return [Text("Why cases fail, as the verdict says it:"), Bullets(items)] if items else []


def place_rows(facts, pick):
    """pick(extremes of a case) -> the extremes to show, each as its figure and its place."""
    rows = []
    for at, case in enumerate(facts["cases"]):
        row = [case_cell(facts, at)]
        for extreme in pick(case["extremes"]) if "extremes" in case else ():
            row += [figure_cell(value_of(extreme)), place_cell(facts, extreme, at)]
        rows.append(row)
    width = max(map(len, rows), default=1)
    return [row + [Cell(text.ABSENT)] * (width - len(row)) for row in rows]


def rest_table(facts):
    columns = column_list("case", "=max rel_L2", "at layer prompt/position", "=max η", "at", "=max drift", "at")
    rows = place_rows(facts, lambda extremes: (extremes["rest"]["max_rel_l2"], extremes["rest"]["max_eta"],
                                               extremes["all"]["max_drift"]))
    return Table("The largest differences after the first position; drift over all positions", columns, rows,
                 metrics.explain("rel_l2", "eta", "drift"), about=each(facts))


def first_table(facts):
    columns = column_list("case", "=rel_L2 at position 0", "at layer prompt/position", "=η at position 0", "at")
    rows = place_rows(facts, lambda extremes: (extremes["first"]["max_rel_l2"], extremes["first"]["max_eta"]))
    return Table("The largest differences at position 0", columns, rows, metrics.explain("first", "rel_l2", "eta"),
                 about=each(facts))


# --- Followed up


def fact(facts, at):
    """A worst place: its text, figures, norms and next tokens."""
    place = facts["places"][at]
    case, figures, said = facts["cases"][place["case"]], place["figures"], place["next"]
    items = [*((metrics.METRICS[name].symbol, text.figure(figures[name])) for name in ("rel_l2", "one_minus_cos", "eta", "drift")),
             *((f"norm of {words}", text.figure(place["norms"][name])) for name, words in
               (("x", "the FFN input"), ("y", "the dense output"), ("h", "the residual stream")))]
    if not math.isnan(figures["kernel_rel_l2"]):
        items.insert(4, (metrics.METRICS["kernel_rel_l2"].symbol, text.figure(figures["kernel_rel_l2"])))
    items.append(("next token" if said["here"] else "next token at the prompt's end", next_words(said)))
    if place["remark"]:
        items.append(("remark", place["remark"]))
    return Fact(f"place-{at}", f"{text.plain(case['name'])}, layer {place['layer']}, {text.plain(place['prompt'], KEY)}/{place['position']}",
                place["before"], place["token"], place["after"], items, (place["case"],),
                [("its layer in the table", f"#case-{place['case']}-layer-{place['layer']}")])


def next_words(said):
    """"dense ' the' (0.31), case ' a' (0.29); KL 1.2e-03"."""
    return (f"dense {said['dense']} ({text.share(said['dense_p'])}), case {said['case']} ({text.share(said['case_p'])}); "
            f"KL {text.figure(said['kl'])}")


def flip_blocks(facts):
    """Which predictions changed: the text, what either model says next, and by how little the dense model decided."""
    everywhere = any(case.get("rates") for case in facts["cases"])
    where = "every position" if everywhere else "each prompt's last position, since the job has 'logits: last'"
    if not facts["flips"]:
        return [Text(f"No most probable next token changes, at {where}.", "good")]
    rows = []
    for flip in facts["flips"]:
        said = flip["next"]
        rows.append([case_cell(facts, flip["case"]), Cell(f"{text.plain(flip['prompt'], KEY)}/{flip['position']}"),
                     Cell(f"{flip['before'][-CONTEXT:]}[{flip['token']}]{flip['after'][:CONTEXT // 3]}"),
                     Cell(said["dense"]), Cell(text.share(said["dense_p"]), sort=sortable(said["dense_p"])),
                     Cell(said["case"]), Cell(text.share(said["case_p"]), sort=sortable(said["case_p"])),
                     Cell(f"{said['margin']:.3f}", sort=sortable(said["margin"])), figure_cell(said["kl"])])
    columns = column_list("case", "prompt/position", "text up to [the token]", "dense says", "=p", "case says", "=p of the case's",
                          "=margin", "=KL")
    return [Table(f"Positions at which a case's most probable next token is another than the dense model's, of {where}: those of the "
                  "largest KL of each case", columns, rows, metrics.explain("probability", "margin", "kl"),
                  about=[(flip["case"],) for flip in facts["flips"]], brief=2)]


def labels_words(labels):
    names = [name for name in labels["expected"] if name != "none"] or list(labels["seen"])
    name = names[0] if len(names) == 1 else "mixed"
    return f"{name} {labels['right']}/{labels['of']}"


def worst_kernel(case):
    """The larger of the kernel's errors on both streams, and whose stream it is."""
    if "extremes" not in case:
        return None, text.ABSENT
    whole = case["extremes"]["all"]
    seen = [(whole[name], stream) for name, stream in (("max_kernel_rel_l2", "dense"), ("max_kernel_own_rel_l2", "own"))
            if whole[name] is not None]
    return max(seen, key=lambda one: one[0]["value"], default=(None, text.ABSENT))


def rule_words(encoding):
    """"re-encoding", or with another encoder's limits the one that came nearest: "foreign_limits: steps 0.503 of 0.55"."""
    judged = encoding and encoding["judged"]
    if not judged:
        return text.ABSENT
    if judged["statistic"] in ("unequal_rows", "non_finite"):
        return judged["rule"] if not judged["value"] else f"{judged['rule']}: {judged['value']:.0f} {judged['statistic']}"
    return f"{judged['rule']}: {judged['statistic']} {judged['value']:.3g} of {judged['limit']:.3g}"


def basis_table(facts):
    columns = column_list("case", "kernel that ran", "=row error p99", "=row error max", "at", "encoding", "=kernel", "at", "stream")
    rows = []
    for at, case in enumerate(facts["cases"]):
        encoding, (kernel, stream) = case.get("encoding"), worst_kernel(case)
        where = Cell(text.ABSENT)
        if encoding and encoding["max"] != 0.0:
            where = Cell(f"L{encoding['layer']} {encoding['projection']} row {encoding['row']}", sort=encoding["layer"])
        labels = case["labels"]
        rows.append([case_cell(facts, at),
                     Cell(labels_words(labels), kind="" if labels["right"] == labels["of"] else "bad"),
                     figure_cell(encoding and encoding["p99"]), figure_cell(encoding and encoding["max"]), where,
                     Cell(rule_words(encoding)),
                     figure_cell(value_of(kernel)), place_cell(facts, kernel, at), Cell(stream)])
    return Table("On what the differences were measured: layers and prompts with the kernel they had to have, the stored "
                 "numbers against the model's, the kernel against its oracle", columns, rows,
                 metrics.explain("row_err", "kernel_rel_l2"), about=each(facts))


def cost_table(facts):
    columns = column_list("case", "=K", "=MB read", "=MB touched", "=GFLOP", "=seconds", "reads from the vindex")
    rows = []
    for at, case in enumerate(facts["cases"]):
        cost = case["cost"]
        rows.append([case_cell(facts, at), Cell("all" if case["k"] is None else str(case["k"]),
                                                sort=math.inf if case["k"] is None else case["k"]),
                     Cell(text.megabytes(cost["bytes"]), sort=cost["bytes"]),
                     Cell(text.megabytes(cost["touched"]), sort=cost["touched"]),
                     Cell(f"{cost['flops'] / 1e9:.2f}", sort=cost["flops"]),
                     Cell(text.seconds(cost["seconds"]), sort=cost["seconds"]),
                     Cell(", ".join(case["reads"]) or "nothing")])
    return Table("What each case costs", columns, rows,
                 metrics.explain("k", "bytes", "touched", "flops", "seconds"), about=each(facts))


def rates_table(facts):
    """Each rate with its error, below it the limit that a bound is held against."""
    rows = []
    for at, case in enumerate(facts["cases"]):
        row = [case_cell(facts, at)]
        for name in layout.RATES if case.get("rates") else ():
            row.append(rate_cell(case["rates"][name], RATE_FORMS.get(name, text.figure)))
        rows.append(row + [Cell(text.ABSENT)] * (len(layout.RATES) + 1 - len(row)))
    return Table("Rates over all positions of all prompts: value ± standard error; below it the upper limit, and its bound if there is one",
                 column_list("case", *(f"={metrics.METRICS[name].symbol}" for name in layout.RATES)),
                 rows, metrics.explain(*layout.RATES, "upper"), about=each(facts))


RATE_FORMS = {"flip_rate": text.percent, "far_flip_rate": text.percent, "ppl_ratio": text.ratio}


def rate_cell(rate, form):
    words = form(rate["value"]) + ("" if rate["error"] is None else f" ± {form(rate['error'])}")
    over = rate["bound"] is not None and not rate["upper"] <= rate["bound"]
    limit = f"limit {form(rate['upper'])}" + ("" if rate["bound"] is None else f", bound {form(rate['bound'])}")
    return Cell(words, sort=sortable(rate["value"]), note=limit, kind="bad" if over else "")


def served_blocks(facts):
    """Whether a server answers the same x alike however it is asked, and what it said of itself."""
    cases = [(at, case) for at, case in enumerate(facts["cases"]) if case["served"]]
    rows = [[case_cell(facts, at), *(way_cell(case["served"]["ways"][way]) for way in layout.WAYS)] for at, case in cases]
    servers = [Cell(f"{text.plain(case['name'])}, {text.plain(str(server['url']))}: {case['served']['wire']} asked, "
               f"{case['served']['answer']} answered; layers {', '.join(map(str, server['layers'])) or 'none'}; "
               + text.plain("; ".join(f"{key} {value}" for key, value in server["stats"].items())))
               for _, case in cases for server in case["served"]["servers"]]
    return [Table("Answers to the same x: the largest distance, where, and how many of those asked differ",
                  column_list("case", *(f"={words}" for words in layout.WAYS.values())), rows, about=[(at,) for at, _ in cases]),
            Bullets(servers), Text(f"Not known: {text.plain(cases[0][1]['served']['unknown'])}.")]


def way_cell(way):
    if way is None:
        return Cell("not asked")
    where = "" if way["differ"] == 0 else f", at L{way['layer']} {text.plain(way['prompt'])}"
    words = "the same bits" if way["differ"] == 0 else text.figure(way["most"])
    return Cell(words, sort=way["most"], note=f"{way['differ']} of {way['asked']} differ{where}")


NAMED = 8  # experts that a cell names


def routing_blocks(facts):
    """Which experts the prompts reach, where a case's router chooses others and what that adds, and the numbers farthest off."""
    routing = facts["routing"]
    told = [one for one in routing["cases"] if one["same_experts"] is not None]  # foreign kernels do not say what they chose
    blocks = [Text(coverage_words(routing)),
              Table("How the dense model's rows spread over the experts of a layer",
                    column_list("=layer", "=experts", "never chosen", "=most rows", "=of an even share", "=median margin", "least margin"),
                    [use_row(one) for one in routing["layers"]],
                    [("margin", "how far the logit of the last expert that a row goes through lies above that of the best one left out")])]
    if told:
        blocks.append(Table("Rows for which a case's router chooses other experts, and what that adds",
                            column_list("case", "=same input", "=own residual stream", "=order alone", "=rel_L2 by the same experts", "=others add"),
                            [choice_row(facts, one) for one in told],
                            [("rel_L2 by the same experts", "the largest error of the case's output when its rows go through the dense model's experts"),
                             ("others add", "the largest distance from that output to the case's own, in the same units")],
                            about=[(one["case"],) for one in told]))
        blocks += flips_by_layer(facts, told)
    if routing["worst"]:
        blocks.append(Table("Experts with rows that their format does not give, then those whose rows, or else whose kernels, are farthest off",
                            column_list("vindex", "=layer", "=expert", "worst row", "=its error", "=unequal rows", "=kernel", "=rows checked",
                                        "=rows that chose it"),
                            [expert_row(facts, one) for one in routing["worst"]],
                            [("kernel", "the largest error of the vindex's kernels at a row that went through the expert and was checked")]))
    return blocks


def coverage_words(routing):
    """Numbers of experts that no row reached are compared all the same; their kernels are not."""
    if not routing["never_chosen"]:
        return f"These prompts reach all {routing['experts']} experts."
    return (f"{routing['never_chosen']} of {routing['experts']} experts were never chosen by these prompts: their stored numbers are compared "
            "with the model's, but no kernel ran with them.")


def use_row(one):
    named = ", ".join(map(str, one["never"][:NAMED])) + (" …" if len(one["never"]) > NAMED else "")
    margin, most = one["least_margin"], one["most"]
    return [Cell(str(one["layer"]), sort=one["layer"]), Cell(str(one["experts"]), sort=one["experts"]),
            Cell(f"{len(one['never'])}: {named}" if one["never"] else "none", sort=len(one["never"])),
            Cell(text.count(most["rows"]), sort=most["rows"], note=f"expert {most['expert']}"),
            Cell(text.ABSENT) if most["of_even_share"] is None else Cell(f"{most['of_even_share']:.1f} ×", sort=most["of_even_share"]),
            Cell(text.figure(one["median_margin"]), sort=one["median_margin"]), figure_at(margin)]


def figure_at(figure, layer=False):
    """A figure with its place below it."""
    if figure is None:
        return Cell(text.ABSENT)
    return Cell(text.figure(figure["value"]), sort=figure["value"], note=place_words(figure, layer) if figure["value"] else "")


def choice_row(facts, one):
    return [case_cell(facts, one["case"]), Cell(str(one["same_input"]), sort=one["same_input"], kind="bad" if one["same_input"] else ""),
            share_cell(one["own_stream"], one["pairs"]), share_cell(one["own_order"], one["pairs"]),
            *(figure_at(one[part], True) for part in ("same_experts", "other_experts"))]


def share_cell(number, of):
    return Cell(text.ABSENT if of == 0 else f"{text.count(number)} ({text.percent(number / of)})", sort=number)


def flips_by_layer(facts, told):
    """A row for each layer, a column for each case that chooses others somewhere; nothing where none does."""
    told = [one for one in told if one["own_stream"]]
    if not told:
        return []
    rows = []
    for at, layer in enumerate(told[0]["layers"]):
        cells = [one["layers"][at] for one in told]
        rows.append([Cell(str(layer["layer"]), sort=layer["layer"]),
                     *(share_cell(one["own_stream"], one["pairs"]) for one in cells)])
    return [Table("Rows with other experts by layer, on the case's own residual stream",
                  column_list("=layer", *("=" + text.plain(facts["cases"][one["case"]]["name"]) for one in told)), rows)]


def expert_row(facts, one):
    rows = next(use["rows"] for use in facts["routing"]["layers"] if use["layer"] == one["layer"])[one["expert"]]
    row = Cell(text.ABSENT) if one["row"] is None else Cell(f"{layout.PROJECTIONS[one['projection']]} {one['row']}", sort=one["row"])
    return [Cell(text.plain(facts["vindexes"][one["vindex"]]["name"])), Cell(str(one["layer"]), sort=one["layer"]),
            Cell(str(one["expert"]), sort=one["expert"]), row, Cell(text.figure(one["error"]), sort=one["error"]),
            Cell(str(one["unequal"]), sort=one["unequal"]), Cell(text.figure(one["kernel"]), sort=one["kernel"]),
            Cell(text.count(one["checked"]), sort=one["checked"]), Cell(text.count(rows), sort=rows)]


# --- Prompts


def prompt_blocks(facts):
    columns = column_list("prompt", "text", "=tokens", "top-1", "=p", "=margin", "=cases that differ")
    rows, anchors = [], []
    for at, prompt in enumerate(facts["prompts"]):
        differ = len(prompt["cases_that_differ"])
        rows.append([Cell(text.plain(prompt["key"], KEY)), Cell(text.token(prompt["text"], 60)),
                     Cell(str(prompt["tokens"]), sort=prompt["tokens"]), Cell(text.token(prompt["top1"], TOKEN)),
                     Cell(text.probability(prompt["top1_prob"]), sort=prompt["top1_prob"]),
                     Cell(f"{prompt['margin']:.3f}", sort=prompt["margin"]),
                     Cell(f"{differ} of {prompt['cases_compared']}", sort=differ)])
        anchors.append(f"prompt-{at}")
    blocks = [Table("Most probable next token of each prompt, by the dense model", columns, rows,
                    metrics.explain("top1_token", "probability", "margin"), anchors, filtered=len(rows) > 12)]
    if facts["prompts_left_out"]:
        blocks.append(Text(f"{text.plural(facts['prompts_left_out'], 'more prompt')} in the file: shown are those with the "
                           "largest KL in any case."))
    return blocks


# --- One case


def case_section(facts, at):
    case = facts["cases"][at]
    if "layers" not in case:
        blocks = [Text(f"{case['verdict']}: {'; '.join(case['reasons'])}", "warning")]
    else:
        blocks = [Text(case_words(case)), case_prompts_table(case, at), layers_table(case, at)]
    return Section(f"{text.plain(case['name'])}: {case['verdict']}", f"case-{at}", blocks, folded=True, about=(at,))


def case_words(case):
    bounds = ", ".join(f"{name} {word} {value:g}" for name, word, value in
                       (("cos", "≥", case["bounds"]["cos"]), ("rel_L2", "≤", case["bounds"]["rel_l2"]),
                        ("|ΔP|", "≤", case["bounds"]["dp"])) if value is not None)
    rel, seen = case["rel_l2"], case["observations"]
    words = (f"{case['verdict']}; bucket {case['bucket']}; bounds: {bounds or 'none for this bucket'}. "
             f"{text.count(seen['all'])} observations, {text.count(seen['distinct'])} with a shared first token counted "
             f"once, {seen['non_finite']} not finite. rel_L2: mean {text.figure(rel['mean'])}, p50 "
             f"{text.figure(rel['p50'])}, p95 {text.figure(rel['p95'])}, p99 {text.figure(rel['p99'])}.")
    decades = ", ".join(f"{name} {text.decades(case['headroom'][key])}" for name, key in
                        (("cos", "cos"), ("rel_L2", "rel_l2"), ("|ΔP|", "dp")) if case["headroom"][key] is not None)
    return words + (f" Headroom in powers of ten: {decades}." if decades else "")


def case_prompts_table(case, at):
    columns = column_list("prompt", "top-1", "=p", "=ΔP", "=KL", "=JS", "=top-5 overlap", "same top-1")
    rows = []
    for prompt in case["prompts"]:
        rows.append([Cell(text.plain(prompt["key"], KEY)), Cell(text.token(prompt["top1"], TOKEN)),
                     Cell(text.probability(prompt["top1_prob"]), sort=sortable(prompt["top1_prob"])),
                     Cell(text.signed(prompt["prob_delta"]), sort=sortable(prompt["prob_delta"])),
                     figure_cell(prompt["kl"]), figure_cell(prompt["js"]),
                     Cell(f"{prompt['topk_overlap']:.2f}", sort=sortable(prompt["topk_overlap"])),
                     Cell("yes" if prompt["same"] else "no", kind="" if prompt["same"] else "bad")])
    return Table(f"{text.plain(case['name'])} by prompt: the next token", columns, rows,
                 metrics.explain("top1_token", "probability", "prob_delta", "kl", "js", "topk_overlap"), filtered=len(rows) > 12)


def layers_table(case, at):
    columns = column_list("layer", "kernel", "=min cos", "=rel_L2 p50", "=rel_L2 p95", "=max rel_L2", "at prompt/position",
                          "=rel_L2 at position 0", "=max η", "at", "=max drift", "=seconds")
    rows, anchors = [], []
    for layer in case["layers"]:
        right = layer["labels"] == [layer["expected_label"]]
        cos = value_of(layer["min_cos"])
        eta = layer["max_eta"]
        rows.append([Cell(str(layer["layer"]), sort=layer["layer"]),
                     Cell(", ".join(layer["labels"]), kind="" if right else "bad"),
                     Cell(text.cosine(cos), sort=sortable(cos)), figure_cell(layer["rest_p50_rel_l2"]),
                     figure_cell(layer["rest_p95_rel_l2"]), figure_cell(value_of(layer["max_rel_l2"])),
                     position_cell(layer["max_rel_l2"]), figure_cell(layer["first_max_rel_l2"]),
                     figure_cell(value_of(eta)), position_cell(eta),
                     figure_cell(largest(layer["rest_max_drift"], layer["first_max_drift"])),
                     Cell(f"{layer['seconds']:.3f}", sort=layer["seconds"])])
        anchors.append(f"case-{at}-layer-{layer['layer']}")
    return Table(f"{text.plain(case['name'])} by layer; p50 and p95 are of the positions after the first, the extremes of "
                 "all", columns, rows, metrics.explain("cos", "rel_l2", "quantiles", "eta", "drift", "seconds"), anchors,
                 filtered=len(rows) > 40)


def largest(*values):
    known = [value for value in values if value is not None]
    return max(known) if known else None


# --- The end


def not_offered(facts):
    blocks = [vindex_table(facts)] if facts["vindexes"] else []
    if not facts["not_offered"]:
        return [*blocks, Text("Every path that was asked for ran.")]
    return [*blocks, Text("Paths that a vindex cannot run, and what is missing:"),
            Bullets([Cell(text.plain(line)) for line in facts["not_offered"]])]


def vindex_table(facts):
    """What became of each vindex and of its files. An unknown file may be a payload whose name is mistyped."""
    rows = [[Cell(text.plain(vindex["name"])), verdict_cell(vindex["verdict"]), Cell(text.plain(vindex["reason"])),
             Cell(text.plain(", ".join(vindex["read"]))), Cell(text.plain(", ".join(vindex["not_read"]))),
             Cell(text.plain("; ".join(vindex["unknown"])), kind="bad" if vindex["unknown"] else ""),
             Cell(text.plain("; ".join(vindex["orders"])), kind="bad" if "undecided" in "".join(vindex["orders"]) else "")]
            for vindex in facts["vindexes"]]
    return Table("Vindexes and their files", column_list("vindex", "verdict", "reason", "read", "not read", "unknown", "element order"), rows)


def provenance(facts):
    rows = [[Cell("result"), Cell(f"{text.plain(facts['result'])}, walkaudit_format {facts['walkaudit_format']}")],
            [Cell("written by"), Cell(text.plain(str(facts["source"])))],
            [Cell("job"), Cell(f"{text.plain(str(facts['job']['name']))}, audit {text.plain(str(facts['job']['audit']))}")]]
    rows += [[Cell(f"vindex {text.plain(vindex['name'])}"), Cell(text.plain(vindex["path"]))] for vindex in facts["vindexes"]]
    rows += [[Cell(f"fingerprint: {text.plain(key)}"), Cell(text.plain(value, 160))]
             for key, value in facts["job"]["fingerprints"].items()]
    if facts["captures"]:
        rows += [[Cell(f"captures/{name}"), Cell(f"{item['type']} {item['shape']}")]
                 for name, item in facts["captures"].items()]
    blocks = [Table("What was audited", column_list("item", "value"), rows)]
    if facts["runs"]:
        blocks.append(runs_table(facts["runs"]))
    blocks.append(Pre(facts["job"]["text"], "The job, as it was understood"))
    return blocks


def runs_table(runs):
    """One column per run. Times by part of the work are in the JSON report."""
    names = sorted({name for run in runs for name in run
                    if not name.startswith(("seconds_", "bytes_", "flops_"))})
    rows = [[Cell(name), *(Cell(run_value(run.get(name))) for run in runs)] for name in names]
    return Table("Runs that worked on the file", column_list("attribute", *(f"run {at}" for at in range(len(runs)))), rows)


def run_value(value):
    if value is None or value == "":
        return text.ABSENT
    if isinstance(value, float):
        return f"{value:.6g}" if value < 1e6 else text.count(value)
    return text.plain(", ".join(map(str, value)) if isinstance(value, list) else str(value), 200)
