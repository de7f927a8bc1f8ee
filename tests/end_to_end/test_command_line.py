"""The command line itself: help, mistyped words, and walkaudit-report as a part of the program."""
import fcntl
import importlib.util
import json
import os
import pathlib
import pty
import re
import shutil
import struct
import subprocess
import termios

import pytest

import harness
from harness import run

ROOT = pathlib.Path(__file__).resolve().parents[2]
VERBS = ("run", "plan", "init", "inspect", "extract", "synth", "tokenize", "verdict", "selftest", "status")


def report_verbs():
    """The verbs of walkaudit-report, from its sources: its libraries need not be there."""
    text = (ROOT / "analysis" / "walkaudit_report" / "cli.py").read_text()
    return re.findall(r'"(\w+)"', re.search(r"^VERBS = \((.*?)\)", text, re.M | re.S).group(1))


def test_help_names_every_verb_of_both_programs():
    for words in (["--help"], ["-h"], ["help"]):
        lines = run(words).stdout.splitlines()
        assert [line.split()[0] for line in lines if line.startswith("  ")] == [*VERBS, *report_verbs()]


def test_help_names_the_arguments_that_each_verb_takes_and_fits_a_terminal():
    for line in run(["help"]).stdout.splitlines():
        assert len(line) <= 80, line
        words = re.match(r"  (\w+) +(\S.*?)  +\S", line)
        if words:
            usage = " ".join(run(["help", words[1]]).stdout.partition("\n\n")[0].split())
            for placeholder in re.findall(r"[A-Z][\w.]*", words[2]):
                assert re.search(rf"(?<![\w.]){re.escape(placeholder)}(?![\w.])", usage), (line, usage)


@pytest.mark.parametrize("verb", VERBS)
def test_help_of_a_verb_has_three_spellings(verb):
    told = run([verb, "--help"]).stdout
    assert told.startswith(f"Usage: walkaudit {verb} ")
    assert run([verb, "-h"]).stdout == told
    assert run(["help", verb]).stdout == told


@pytest.mark.parametrize("words, meant", [
    (["reprot", "x.h5"], "report"), (["inspct", "x"], "inspect"), (["help", "verdit"], "verdict"), (["RUN"], "run"),
])
def test_a_mistyped_verb_is_answered_with_the_one_that_was_meant(words, meant):
    done = run(words, expect=2)
    typed = [word for word in words if word != "help"][0]
    assert done.stderr == f"walkaudit: unknown verb '{typed}', did you mean '{meant}'?\n"


def test_another_word_is_answered_with_all_verbs():
    told = run(["frobnicate"], expect=2).stderr
    assert told == f"walkaudit: unknown verb 'frobnicate', expected one of {', '.join([*VERBS, *report_verbs()])}\n"


@pytest.mark.parametrize("keys, sets, told", [
    ({"logit": "all"}, (), "unknown key 'logit', did you mean 'logits'?; "),
    ({"rows": 8}, (), "unknown key 'rows', did you mean 'paths[].rows' or 'batch.rows'?; "),
    ({"batch": {"colour": 1}}, (), "unknown key 'batch.colour', expected rows; "),
    ({"paths": [{"path": "spares"}]}, (), "unknown path 'spares', did you mean 'sparse'?; "),
    ({"paths": [{"path": "fastest"}]}, (), "unknown path 'fastest', expected one of sparse, "),
    ({}, ("batch.row=3",), "--set 'batch.row': unknown key, did you mean 'batch.rows'?"),
    ({"captures": {"tensors": ["x"], "cases": ["f32:sparze"]}}, (), "no case is called 'f32:sparze', did you mean 'f32:sparse'?"),
])
def test_a_mistyped_word_of_a_job_is_answered_with_the_one_that_was_meant(shop, keys, sets, told):
    job = shop.job(shop.model("tiny-llama"), {"f32": shop.vindex("tiny-llama", "f32")}, **keys)
    error = job.run(sets=sets, expect=2).stderr
    assert told in error
    assert len(error.splitlines()) == 1


def test_a_mistyped_audit_is_answered_with_the_one_that_was_meant(shop):
    job = shop.job(shop.model("tiny-llama"), {"f32": shop.vindex("tiny-llama", "f32")})
    assert "--audit 'audti': the job has no such audit, did you mean 'audit'?" in job.run(words=["--audit", "audti"], expect=2).stderr


def stand_in(path):
    """A walkaudit-report that shows its words and answers with an exit code of its own."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text('#!/bin/sh\nprintf "%s|" "$0" "$@"\nexit 7\n')
    path.chmod(0o755)
    return path


@pytest.mark.parametrize("place", ["bin/walkaudit-report", "analysis/walkaudit-report", "elsewhere/walkaudit-report"])
def test_the_verbs_of_walkaudit_report_are_handed_to_it(tmp_path, place):
    program = tmp_path / ("build/demo/walkaudit" if place.startswith("analysis") else "bin/walkaudit")
    program.parent.mkdir(parents=True)
    shutil.copy2(harness.binary(), program)
    there = stand_in(tmp_path / place)
    path = os.environ["PATH"] + (f":{there.parent}" if place.startswith("elsewhere") else "")
    for verb in report_verbs():
        done = run([verb, "a b.h5", "-o", "x"], program=program, expect=7, PATH=path, WALKAUDIT_REPORT="")
        shown, *words = done.stdout.split("|")
        assert os.path.samefile(shown, there)
        assert words == [verb, "a b.h5", "-o", "x", ""]


def test_walkaudit_report_may_be_named_and_its_absence_is_one_line(tmp_path):
    there = stand_in(tmp_path / "mine")
    assert run(["worst", "a.h5"], expect=7, WALKAUDIT_REPORT=str(there)).stdout.startswith(str(there))
    lone = tmp_path / "walkaudit"
    shutil.copy2(harness.binary(), lone)
    done = run(["worst", "a.h5"], program=lone, expect=3, WALKAUDIT_REPORT="", PATH="/nonexistent")
    assert len(done.stderr.splitlines()) == 1 and "walkaudit-report" in done.stderr and "WALKAUDIT_REPORT" in done.stderr
    done = run(["worst", "a.h5"], expect=3, WALKAUDIT_REPORT=str(tmp_path / "none"))
    assert done.stderr.startswith("walkaudit: WALKAUDIT_REPORT is") and "No such file" in done.stderr


def test_a_failure_of_a_handed_verb_has_the_name_that_was_called(tmp_path):
    script = str(ROOT / "analysis" / "walkaudit-report")
    assert run(["worst", tmp_path / "x.h5"], expect=3, WALKAUDIT_REPORT=script).stderr == f"walkaudit: '{tmp_path / 'x.h5'}': no such file\n"
    assert run(["collect", tmp_path], expect=2, WALKAUDIT_REPORT=script).stderr.endswith("; see 'walkaudit collect --help'\n")


def test_a_real_report_is_written_through_the_program(shop, tmp_path):
    if importlib.util.find_spec("matplotlib") is None:
        pytest.skip("matplotlib is not installed")
    job = shop.job(shop.model("tiny-llama"), {"f32": shop.vindex("tiny-llama", "f32")}, paths=[{"path": "sparse"}])
    job.run()
    done = run(["report", job.result_path, "--no-plots", "-o", tmp_path / "out"], expect=None,
               WALKAUDIT_REPORT=str(ROOT / "analysis" / "walkaudit-report"))
    assert done.returncode in (0, 1) and list((tmp_path / "out").glob("*.html")), done.stderr


def test_a_sweep_over_k_and_a_text_file_of_prompts(shop):
    """One line of a job gives a case for each k; every other line of this job is what it would be without them."""
    prompts = shop.root / "prompts.txt"
    prompts.write_text("The capital of France is\n\nOne, two, three\nnot read\n")
    job = shop.job(shop.model("tiny-llama"), {"f32": shop.vindex("tiny-llama", "f32")},
                   paths=[{"path": "sparse_serial", "k": [2, 4, 8]}], prompts={"file": str(prompts), "limit": 2})
    result = job.result(expect=None)
    assert result.cases == ["f32:sparse_serial:k2", "f32:sparse_serial:k4", "f32:sparse_serial:k8"]
    assert result.prompts == ["line1", "line3"]


def test_init_writes_a_job_that_runs_as_it_is(shop, tmp_path):
    """Also where two vindexes have one name, a name is no name of a case, and a path wants quotes."""
    model = tmp_path / "a model: 'mine'"
    shutil.copytree(shop.model("tiny-llama"), model)
    places = ["one/v.vindex", "two/v.vindex", "1e3", str(model.name)]
    for place in places[:3]:
        shop.copy("tiny-llama", "f16", tmp_path / place) if "/" in place else shutil.copytree(shop.vindex("tiny-llama", "q4k"), tmp_path / place)
    done = subprocess.run(harness.command(["init", model.name, *places]), cwd=tmp_path, env=harness.environment(), capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    job = tmp_path / "job.yaml"
    job.write_text(done.stdout)
    run(["run", job], expect=0)
    result = harness.Result(tmp_path / "results" / "job-model.h5")
    assert {case.split(":")[0] for case in result.cases} == {"v1", "v2", "1e3", "v4"}
    for name in ("v1", "1e3"):  # what its comment says is what ran
        paths = [case.split(":", 1)[1] for case in result.cases if case.startswith(f"{name}:")]
        assert f"# runs {', '.join(paths)}\n" in done.stdout


def test_init_gives_no_place_the_name_of_another(shop, tmp_path):
    for name in (".hid", "v1.vindex", "v4.vindex"):
        shop.copy("tiny-llama", "f16", tmp_path / name)
    job = tmp_path / "job.yaml"
    job.write_text(harness.run(["init", shop.model("tiny-llama"), *(tmp_path / name for name in (".hid", "v1.vindex", "v4.vindex"))]).stdout)
    assert re.findall("name: (.*)", job.read_text()) == ["v5"]
    harness.run(["plan", job, "--gflops", "5"])


@pytest.mark.parametrize("words", [["help"], ["--version"], ["status", "--help"], ["inspect"], ["status"], ["inspect", "--json"], ["init"]])
def test_an_answer_that_cannot_be_written_is_3(shop, words):
    job = shop.job(shop.model("tiny-llama"), {"f16": shop.vindex("tiny-llama", "f16")}, paths=[{"path": "sparse"}])
    subject = {"inspect": [shop.vindex("tiny-llama", "f16")], "init": [shop.model("tiny-llama"), shop.vindex("tiny-llama", "f16")],
               "status": [job.result_path]}.get(words[0], [])
    if words == ["status"]:
        job.run()
    with open("/dev/full", "w") as full:
        done = subprocess.run(harness.command([*words, *subject]), stdout=full, stderr=subprocess.PIPE, text=True, env=harness.environment())
    assert (done.returncode, done.stderr) == (3, "walkaudit: cannot write the answer to stdout: No space left on device\n")


def test_init_says_what_runs_of_a_model_with_experts(tmp_path):
    run(["synth", tmp_path / "m", "--family", "olmoe", "--shape", "tiny", "--experts", "4", "--chosen", "2"])
    run(["extract", tmp_path / "m", tmp_path / "m.vindex", "--format", "q4k"])
    assert "# runs experts, experts_q8k\n" in run(["init", tmp_path / "m", tmp_path / "m.vindex"]).stdout


@pytest.mark.parametrize("words, told, code", [
    (["MODEL"], "expected MODEL and at least one VINDEX", 2), (["MODEL", "nowhere"], "nowhere", 3), (["nowhere", "VINDEX"], "nowhere", 3),
    (["MODEL", "OTHER"], "layers", 3), (["MODEL", "VIN\nDEX"], "", 3),
])
def test_init_tells_at_once_what_cannot_run(shop, words, told, code):
    names = {"MODEL": shop.model("tiny-llama"), "VINDEX": shop.vindex("tiny-llama", "f16"), "OTHER": shop.vindex("tiny-gemma3", "f16")}
    done = run(["init", *(names.get(word, word) for word in words)], expect=code)
    assert told in done.stderr and done.stdout == ""


def json_of(words, schema, expect=0):
    """One object with name and version of its schema, every member of it in doc/json.md, and nothing beside it."""
    done = run(words, expect=expect)
    said = json.loads(done.stdout)
    assert list(said)[:2] == ["schema", "version"] and (said["schema"], said["version"]) == (schema, 1)
    assert done.stderr == ""
    section = (ROOT / "doc" / "json.md").read_text().split(f"## {schema}, version 1")[1].split("\n## ")[0]

    def check(value):
        for item in value if isinstance(value, list) else [value]:
            for name, inner in item.items() if isinstance(item, dict) else ():
                assert name in ("schema", "version", *said.get("understood", ())) or re.search(rf"`(\w+\[\]\.)?{name}(\[\])?`", section), name
                check(inner)
    check(said)
    return said


def test_verdicts_and_states_are_told_in_json(shop):
    job = shop.job(shop.model("tiny-llama"), {"q4k": shop.vindex("tiny-llama", "q4k")}, paths=[{"path": "sparse"}], logits="all")
    before = json_of(["status", "--json", job.path], "walkaudit.status", expect=3)
    assert [(a["audit"], a["state"], a["exit_code"]) for a in before["audits"]] == [("audit", "absent", 3)]
    result = job.result()
    said = json_of(["verdict", "--json", job.result_path], "walkaudit.verdict")
    case, = said["cases"]
    assert (case["case"], case["verdict"], case["reasons"]) == ("q4k:sparse", "MEASURED", [])
    for name in ("min_cos", "max_rel_l2", "mean_kl", "flip_rate"):
        assert case[name] == pytest.approx(result.case("q4k:sparse", name), rel=1e-15), name
    assert (said["bounds"], said["stored"], said["exit_code"]) == ("default", True, 0)
    other = json_of(["verdict", "--json", "--bounds", "larql", job.result_path], "walkaudit.verdict", expect=None)
    assert (other["bounds"], other["stored"]) == ("larql", False)
    for words in (["status", "--json", job.path], ["status", "--json", job.result_path]):
        audit, = json_of(words, "walkaudit.status")["audits"]
        assert (audit["state"], audit["prompts"], audit["prompts_done"], audit["failure"]) == ("finished", 3, 3, None)


def test_plans_are_told_in_json_with_the_figures_of_the_text(shop):
    vindexes = {name: shop.vindex("tiny-llama", name) for name in ("f32", "q4k")}
    job = shop.job(shop.model("tiny-llama"), vindexes, paths=[{"path": "sparse"}, {"path": "interleaved_q4k"}])
    text = harness.run(["plan", job.path, "--ranks", 2, "--gflops", 5]).stdout
    audit, = json_of(["plan", "--json", job.path, "--ranks", 2, "--gflops", 5], "walkaudit.plan")["audits"]
    assert [(case["case"], case["not_run"]) for case in audit["cases"]] == [(name, None) for name in ("f32:sparse", "q4k:sparse", "q4k:interleaved_q4k")]
    assert [(item["vindex"], item["path"]) for item in audit["not_offered"]] == [("f32", "interleaved_q4k")]
    plan, = audit["plans"]
    assert f"messages: {plan['messages']} of {plan['message_bytes']} bytes in all, {plan['message_bytes_to_rank_0']} bytes" in text
    assert f"2 ranks on 1 node: {plan['groups']} group" in text and f"teams of {plan['teams']}; {plan['idle']} idle" in text
    seconds = [plan[name] for name in ("seconds", "kernel_check_seconds", "encoding_check_seconds")]
    assert all(seconds) and f"about {sum(seconds):.3g} s of computing" in text
    assert "layers and logits {:.3g} s, kernel check {:.3g} s, encoding check {:.3g} s\n".format(*seconds) in text
    assert (plan["flop_per_second"], plan["rate"]) == (5e9, "given")
    assert f"prompts: {audit['prompts']}, {audit['positions']} positions" in text
    several, = json_of(["plan", "--json", job.path, "--ranks", "1,3"], "walkaudit.plan")["audits"]
    assert [(p["ranks"], p["rate"]) for p in several["plans"]] == [(1, "walkaudit"), (3, "walkaudit")]
    without, = json_of(["plan", "--json", job.path, "--ranks", 2, "--gflops", 5, "--set", "kernel_check=none",
                        "--set", "encoding_check=none"], "walkaudit.plan")["audits"]
    assert [without["plans"][0][name] for name in ("seconds", "kernel_check_seconds", "encoding_check_seconds")] == [seconds[0], 0, 0]
    harness.run(["plan", "--json", "nowhere.yaml"], expect=2)


def test_what_a_path_is_is_told_in_json(shop):
    model, vindex = shop.model("tiny-llama"), shop.vindex("tiny-llama", "q4k")
    config = json.loads((model / "config.json").read_text())
    said = json_of(["inspect", "--json", model], "walkaudit.inspect")
    assert (said["kind"], said["family"], said["gated"], said["refused"]) == ("model", "llama", True, False)
    assert (said["layers"], said["hidden"], said["vocabulary"]) == tuple(config[name] for name in
                                                                         ("num_hidden_layers", "hidden_size", "vocab_size"))
    assert {item["path"]: item["bytes"] for item in said["files"]} == {
        str(path): path.stat().st_size for path in map(pathlib.Path, (item["path"] for item in said["files"]))}
    assert said["understood"]
    said = json_of(["inspect", "--json", vindex], "walkaudit.inspect")
    assert (said["kind"], said["path"], said["bucket"]) == ("vindex", str(vindex), "quantized")
    text = harness.run(["inspect", vindex]).stdout
    assert said["cases"] and all(f"  {case['case']:<26} bucket {case['bucket']}, label {case['kernel']}" in text for case in said["cases"])
    assert all(f"not offered: {item['path']}: {item['reason']}" in text for item in said["not_offered"])
    lacking = {item["path"] for item in json_of(["inspect", "--json", shop.vindex("tiny-llama", "f32")], "walkaudit.inspect")["not_offered"]}
    assert lacking >= {"interleaved_kquant_native", "interleaved_kquant_dequant"} and "interleaved_q4k" not in lacking  # August's words
    job = shop.job(model, {"q4k": vindex}, paths=[{"path": "sparse"}])
    result = job.result()
    said = json_of(["inspect", "--json", job.result_path], "walkaudit.inspect")
    assert (said["kind"], said["positions"], said["prompts"]) == ("result", len(result["token_id"]), 3)
    assert {case["case"]: case["verdict"] for case in said["cases"]} == result.verdicts()
    harness.one_error_line(harness.run(["inspect", "--json", model / "config.json"], expect=3))


def test_a_run_without_may_words_stores_and_prints_what_is_not_offered(shop):
    """August's ladder has a word of its own for interleaved_q4k, which the result keeps."""
    job = shop.job(shop.model("tiny-llama"), {"f32": shop.vindex("tiny-llama", "f32")}, ladder="larql-2026-08")
    printed = job.run().stdout
    offers = [line.removeprefix("not offered: ") for line in printed.splitlines() if line.startswith("not offered: ")]
    assert any("interleaved_kquant_dequant" in line.partition(": ")[0].split(", ") for line in offers), printed
    judged = harness.run(["verdict", job.result_path]).stdout
    assert [line.removeprefix("not offered: ") for line in judged.splitlines() if line.startswith("not offered: ")] == offers
    result = harness.Result(job.result_path)
    stored = dict(zip((line.split(":")[1] for line in result["not_offered"]), result["not_offered_path"]))
    assert stored["interleaved_kquant_dequant"] == "interleaved_q4k" and "interleaved_q4k" not in stored


def test_quiet_leaves_errors_and_what_was_asked_for(shop, tmp_path):
    """Each of these says more without it: progress, a warning, a closing line."""
    model, out = shop.model("tiny-llama"), tmp_path / "out"
    job = shop.job(model, {"f32": shop.vindex("tiny-llama", "f32")}, paths=[{"path": "sparse"}])
    answers = {"run": ["run", job.path, "--fresh"], "plan": ["plan", job.path, "--ranks", 64],
               "verdict": ["verdict", "--bounds", "larql", job.result_path]}
    silent = {"extract": ["extract", model, out / "v", "--format", "f32", "--force"],
              "synth": ["synth", out / "synth", "--family", "llama", "--shape", "tiny"]}
    out.mkdir()
    for verb, words in {**answers, **silent}.items():
        talk = harness.run(words, expect=None)
        shutil.rmtree(out / "synth", ignore_errors=True)
        for option in ("--quiet", "-q"):
            quiet = harness.run([*words, option], expect=talk.returncode)
            shutil.rmtree(out / "synth", ignore_errors=True)
            assert quiet.stderr == "", verb
            assert bool(quiet.stdout) == (verb in answers), verb
        assert talk.stderr or verb in silent, verb
        assert talk.stdout, verb
    assert harness.one_error_line(harness.run(["run", "-q", "nowhere.yaml"], expect=2))


def on_terminal(words, columns, **extra):
    """What a command writes to a terminal of so many columns."""
    own, its = pty.openpty()
    fcntl.ioctl(its, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
    settings = termios.tcgetattr(its)
    settings[1] &= ~termios.OPOST  # \n stays \n
    termios.tcsetattr(its, termios.TCSANOW, settings)
    env = {name: value for name, value in harness.environment(NO_COLOR="1", **extra).items() if name != "COLUMNS" or "COLUMNS" in extra}
    process = subprocess.Popen(harness.command(words), env=env, stdin=subprocess.DEVNULL, stdout=its, stderr=subprocess.PIPE)
    os.close(its)
    text = b""
    while True:
        try:
            piece = os.read(own, 1 << 16)
        except OSError:  # EIO: the other end is closed
            break
        text += piece
    os.close(own)
    assert process.wait(harness.LIMIT) == 0, process.stderr.read()
    process.stderr.close()
    return text.decode()


def rows_of(text, title):
    """Lines of a table, each split at its columns; the parts that stand below each other on a narrow terminal are one."""
    block = text.split(f"\n{title}\n", 1)[1].split("\n\n")
    parts = [block[0].splitlines()]
    parts += [part.splitlines() for part in block[1:] if part.split("\n")[0].split()[:1] == parts[0][0].split()[:1]]
    split = [[re.split(r"  +", line.strip()) for line in part] for part in parts]
    return [sum((part[at][1:] for part in split), split[0][at][:1]) for at in range(len(split[0]))]


def test_tables_fit_a_terminal_and_stay_as_they_are_in_pipes(shop):
    title = "Verdicts, and the largest differences from the dense model"
    job = shop.job(shop.model("tiny-llama"), {"q4k": shop.vindex("tiny-llama", "q4k")}, paths=[{"path": "sparse"}, {"path": "interleaved_q4k"}])
    job.run()
    words = ["verdict", job.result_path]
    piped = harness.run(words).stdout
    assert harness.run(words, COLUMNS="60").stdout == piped and on_terminal(words, 200) == piped
    wide = rows_of(piped, title)
    assert wide[0][:2] == ["case", "verdict"] and wide[0][-1] == "seconds" and len(wide) == 3
    for narrow in (on_terminal(words, 60), on_terminal(words, 200, COLUMNS="60"), on_terminal(["run", "-n", 2, job.path], 60)):
        tables = [text.split("\nVindexes\n")[0].split(f"\n{title}\n")[1].splitlines() for text in (narrow, piped)]
        assert max(map(len, tables[0])) <= 60 < max(map(len, tables[1]))
        assert rows_of(narrow.split("\nVindexes\n")[0], title) == wide


@pytest.mark.parametrize("place", ["build/walkaudit", "walkaudit", "on the path/walkaudit"])
def test_the_next_line_runs_as_printed_and_leads_to_the_report(shop, tmp_path, place):
    program = tmp_path / place
    program.parent.mkdir(exist_ok=True)
    shutil.copy2(harness.binary(), program)
    job = shop.job(shop.model("tiny-llama"), {"f32": shop.vindex("tiny-llama", "f32")}, paths=[{"path": "sparse"}], result=str(tmp_path / "re sults"))
    env = harness.environment(WALKAUDIT_REPORT=str(ROOT / "analysis" / "walkaudit-report"))
    if "path" in place:
        env["PATH"] = f"{program.parent}:{env['PATH']}"
    for words in (["run", job.path], ["status", tmp_path / "re sults" / "job-audit.h5"]):
        done = subprocess.run([program, *map(str, words)], cwd=tmp_path, env=env, capture_output=True, text=True, check=True)
        told, = [line for line in done.stdout.splitlines() if line.startswith("next: ")]
        word = {"build/walkaudit": "build/walkaudit", "walkaudit": "./walkaudit"}.get(place, "walkaudit")
        assert told.startswith(f"next: {word} report '")
    if importlib.util.find_spec("matplotlib") is not None:
        made = subprocess.run(["sh", "-c", told.removeprefix("next: ") + " --no-plots"], cwd=tmp_path, env=env, capture_output=True, text=True)
        assert made.returncode == 0 and (tmp_path / "re sults" / "job-audit.html").exists(), made.stderr
