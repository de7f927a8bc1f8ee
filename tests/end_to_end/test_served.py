"""Path served: a running server's FFN is audited layer by layer; whatever it does wrong, the run ends, and says what.

The server is tests/support/ffn_server.py on the f32 vindex of tiny-gemma3: 4 layers, 512 features, hidden size 256.
"""
import json
import os
import re
import signal
import struct
import subprocess
import sys
import time
import urllib.request

import h5py
import numpy as np
import pytest

import harness

sys.path.insert(0, str(harness.GOLDEN.parent / "support"))
from ffn_server import FfnServer  # noqa: E402

MODEL = "tiny-gemma3"
SHAPE = (4, 512, 256, "gelu_tanh")
STATS = json.loads((harness.GOLDEN / "served" / "stats.json").read_text())[MODEL]["f32"]  # as LARQL's own server said of these files


def server(shop, stats=None, **keys):
    return FfnServer(shop.vindex(MODEL, "f32"), *SHAPE, stats={**STATS, **(stats or {})}, **keys)


def served(*servers, **keys):
    return {"path": "served", "url": [s.url for s in servers], "name": "live", "like": "full_mmap", **keys}


def job(shop, *paths, served_timeout=1, served_retries=2, **keys):
    return shop.job(shop.model(MODEL), {"v": shop.vindex(MODEL, "f32")}, paths=list(paths),
                    served_timeout=served_timeout, served_retries=served_retries, **keys)


def test_a_sound_server_passes_as_the_path_it_is_like(shop):
    with server(shop) as s:
        made = job(shop, served(s, bucket="exact"), {"path": "full_mmap"})
        done = made.run()
    result = harness.Result(made.result_path)
    assert result.verdicts() == {"v:live": "PASS", "v:full_mmap": "PASS"}
    assert result.case("v:live", "case_kernel") == "served:f32 tiny-gemma3/model"
    assert result.case("v:live", "case_kernel_tolerance") == 1e-5
    assert np.all(result.case("v:live", "rel_l2") < 1e-5) and np.all(result.case("v:live", "drift") < 1e-4)
    for field in ("kernel_rel_l2", "kernel_own_rel_l2"):
        assert 0 < np.nanmax(result.case("v:live", field)) < 1e-7
    for way in ("repeat", "order", "alone"):
        seen = result.case("v:live", f"{way}_rel_l2")
        assert np.all(np.isfinite(seen).any(axis=1)) and np.nanmax(seen) == 0, way  # every layer was asked
    assert np.all(np.isnan(result.case("v:live", "alike_rel_l2")))
    assert "v:live: asked again: the same bits (" in done.stdout
    facts = json.loads(result.case("v:live", "case_served"))
    assert (facts["wire"], facts["answer"]) == ("f32", "f32") and "which vindex" in facts["unknown"]
    said = {**STATS, "feature_major_down": False}
    del said["q4k_ffn"]  # there for f32 files too: it does not tell K-quants
    assert facts["servers"][0] == {"url": s.url, "layers": [0, 1, 2, 3], "patches": '{"patches": []}', "stats": said}
    assert result.case("v:full_mmap", "case_served") == ""


@pytest.mark.parametrize("kind, request_hex, layers", [
    ("", "03000000 01000000 01000000 00000000 0000803f 000020c0 cdcccc3d 00000000", [3]),
    ("", "ffffffff 02000000 03000000 04000000 01000000 01000000 00000000 0000803f 000020c0 cdcccc3d 00000000", [3, 4]),
    ("-i8", "03000000 01000000 01000000 00000000 8542a13c 00000000 33810500", [3]),
])
def test_the_test_server_understands_the_documents_requests(tmp_path, kind, request_hex, layers):
    """doc/larql-2026-08.md 4.4; walkaudit sends one layer at a time, so that the form of several is held here alone."""
    shape = 5, 3, 4
    rng = np.random.default_rng(3)
    parts = {}
    for name in ("gate_vectors.bin", "up_features.bin", "down_features.bin"):
        parts[name] = rng.standard_normal(shape).astype("<f4")
        parts[name].tofile(tmp_path / name)
    x = np.array([1, -2.5, 0.1, 0], "<f4")
    if kind:
        x = np.array([0x33, -0x7f, 5, 0], "<f4") * np.float32(2.5 / 127)
    with FfnServer(tmp_path, *shape, "silu") as s:
        asked = urllib.request.Request(f"{s.url}/v1/walk-ffn", bytes.fromhex(request_hex.replace(" ", "")),
                                       {"Content-Type": f"application/x-larql-ffn{kind}", "Accept": "application/x-larql-ffn"})
        answer = urllib.request.urlopen(asked, timeout=10).read()
    heads = [struct.pack("<2If", layers[0], 1, 0.5)] if len(layers) == 1 else [
        (struct.pack("<2If", 0xffffffff, 2, 0.5) if layer == 3 else b"") + struct.pack("<3I", layer, 1, 4) for layer in layers]
    for head, layer in zip(heads, layers):
        gate, up, down = (parts[name][layer].astype(float) for name in parts)
        scores = gate @ x
        y = (scores / (1 + np.exp(-scores)) * (up @ x)) @ down
        assert answer.startswith(head)
        np.testing.assert_allclose(np.frombuffer(answer[len(head):len(head) + 16], "<f4"), y, rtol=1e-6)
        answer = answer[len(head) + 16:]
    assert answer == b""


@pytest.mark.parametrize("wire, answer, kernel, distance", [
    ("f16", "f16", 5e-5, (1e-5, 2e-3)), ("f16", "f32", 1e-7, (1e-5, 2e-3)),
    ("i8", "i8", 3e-3, (1e-3, 3e-2)), ("i8", "f32", 1e-7, (1e-3, 3e-2)), ("q8k", "f32", 1e-7, (1e-3, 3e-2)),
])
def test_what_the_wire_loses_is_no_fault_of_the_kernel(shop, wire, answer, kernel, distance):
    """The oracle gets x as it arrives, and its y is rounded as the answer is; the distance from the dense model is the wire's."""
    with server(shop, wires=(answer,)) as s:
        result = job(shop, served(s, wire=wire)).result()
    assert result.verdicts() == {"v:live": "MEASURED"}
    assert json.loads(result.case("v:live", "case_served"))["answer"] == answer
    for field in ("kernel_rel_l2", "kernel_own_rel_l2"):
        assert np.nanmax(result.case("v:live", field)) < kernel
    assert distance[0] < np.max(result.case("v:live", "rel_l2")) < distance[1]
    assert np.nanmax(result.case("v:live", "repeat_rel_l2")) == 0
    assert np.all(np.isnan(result.case("v:live", "order_rel_l2"))) == (wire == "q8k")


def test_its_numbers_are_the_same_bits_on_any_ranks(shop, tmp_path):
    keys = {"prompts": harness.corpus(tmp_path / "corpus.jsonl", 6), "batch": {"rows": 8}}
    with server(shop) as s, server(shop) as second:
        paths = [served(s, second), {"path": "sparse"}]
        alone = job(shop, *paths, **keys)
        alone.run()
        for ranks, grid in ((2, {"stages": 2}), (3, {}), (4, {"stages": 2, "teams": 2})):
            other = job(shop, *paths, grid=grid, **keys)
            other.run(ranks=ranks)
            harness.assert_equal_bits(alone, other)
    result = harness.Result(alone.result_path)
    assert np.nanmax(result.case("v:live", "alike_rel_l2")) == 0 and s.asked > 20 and second.asked > 20


@pytest.mark.parametrize("fault, said", [
    ("wrong_length", "bytes, expected"),
    ("other_head", "the answer is of layer 2 with"),
    ("half", "no answer in 3 attempts of at most 1 s"),
    ("slow", "no answer in 3 attempts of at most 1 s"),
])
@pytest.mark.parametrize("ranks", [None, 2])
def test_an_answer_that_is_none_is_one_line(shop, ranks, fault, said):
    with server(shop, fault=fault) as s:
        broken = job(shop, served(s))
        start = time.monotonic()
        line = harness.one_error_line(broken.run(ranks=ranks, expect=3))
    assert time.monotonic() - start < 40
    assert said in line and "at layer 1" in line and s.url in line and "case 'v:live'" in line, line
    assert not broken.result_path.exists()


@pytest.mark.parametrize("fault, verdict, said", [
    ("nan", "NON-FINITE", "layer 1, "),
    ("other_layer", "KERNEL", "layer 1, prompt"),
    ("unrepeatable", "KERNEL", "answers to the same request differ by"),
])
def test_a_wrong_answer_fails_the_case(shop, fault, verdict, said):
    with server(shop, fault=fault) as s:
        result = job(shop, served(s)).result(expect=1)
    assert result.verdicts() == {"v:live": verdict}
    assert said in result.case("v:live", "fail_reasons"), result.case("v:live", "fail_reasons")


@pytest.mark.parametrize("fault, way", [("order", "order"), ("cache", "alone")])
def test_an_answer_that_depends_on_company_is_reported(shop, fault, way):
    """Repeatable all the same; an order that shows within kernel_tolerance fails nothing."""
    with server(shop, fault=fault) as s:
        made = job(shop, served(s, kernel_tolerance=0.1))
        done = made.run()
    result = harness.Result(made.result_path)
    apart = result.case("v:live", f"{way}_rel_l2")
    assert np.nanmax(apart[1]) > 1e-3 and np.nanmax(apart[[0, 2, 3]]) == 0
    assert np.nanmax(result.case("v:live", "repeat_rel_l2")) == 0
    words = {"order": "positions in the opposite order", "alone": "one position alone"}
    assert f"v:live: {words[way]}: differs by at most " in done.stdout and ", at L1 " in done.stdout


def test_servers_that_differ_are_kernel(shop):
    with server(shop) as s, server(shop, fault="other_layer") as other:
        made = job(shop, served(s, other, kernel_tolerance=0.1))
        result = made.result(expect=1)
    subprocess.run([harness.GOLDEN.parent.parent / "analysis" / "walkaudit-report", "report", made.result_path, "-o", made.folder,
                    "--no-plots"], stdout=subprocess.DEVNULL, check=False)
    page = next(made.folder.glob("*.md")).read_text()
    section = page[page.index("# Running servers"):]
    assert s.url in section and "hidden_size 256" in section and "which vindex answers" in section
    assert section.count("the same bits") == 3 and "differ, at L1 " in section
    assert result.verdicts() == {"v:live": "KERNEL"}
    assert "layer 1, prompt" in result.case("v:live", "fail_reasons")
    assert "answers of its servers differ by" in result.case("v:live", "fail_reasons")


@pytest.mark.parametrize("wire, verdict", [("f32", "KERNEL"), ("f16", "UNCHECKED")])
def test_servers_may_differ_by_what_their_wire_rounds(shop, wire, verdict):
    with server(shop, wires=("f16",)) as s, server(shop, wires=("f16",), fault="near") as other:
        path = served(s, other, wire=wire)
        del path["like"]
        result = job(shop, path).result(expect=int(verdict == "KERNEL"))
    assert result.verdicts() == {"v:live": verdict}, result.case("v:live", "fail_reasons")
    assert 4e-5 < np.nanmax(result.case("v:live", "alike_rel_l2")) < 5e-4
    assert result.case("v:live", "case_kernel_tolerance") == {"f32": 1e-5, "f16": 5e-4}[wire]


def test_servers_may_share_the_layers(shop):
    with server(shop, owned=(0, 1)) as low, server(shop, owned=(2, 3)) as high:
        result = job(shop, served(low, high)).result()
        facts = json.loads(result.case("v:live", "case_served"))
        assert [s["layers"] for s in facts["servers"]] == [[0, 1], [2, 3]]
    assert result.verdicts() == {"v:live": "MEASURED"}


def test_layers_that_no_server_has_are_said_and_the_others_audited(shop, tmp_path):
    """Where no server has a layer, the case's own stream goes through the model's FFN, and nothing is compared."""
    keys = {"prompts": harness.corpus(tmp_path / "corpus.jsonl", 6), "batch": {"rows": 8},
            "captures": {"tensors": ["y_walk"], "cases": ["v:live"]}}
    with server(shop, owned=(1, 2)) as some, server(shop) as whole:
        paths = [served(some), {"path": "full_mmap"}, {**served(whole), "name": "whole"}]
        made = job(shop, *paths, **keys)
        done = made.run()
        for ranks, grid in ((2, {"stages": 2}), (3, {}), (4, {"stages": 2, "teams": 2})):
            other = job(shop, *paths, grid=grid, **keys)
            other.run(ranks=ranks)
            harness.assert_equal_bits(made, other)
    result = harness.Result(made.result_path)
    assert result.verdicts() == {"v:live": "UNCHECKED", "v:full_mmap": "PASS", "v:whole": "MEASURED"}
    said = "no server has layers 0, 3 of 4; there the model's own FFN stands in"
    assert result.case("v:live", "fail_reasons") == said and said in " ".join(done.stdout.split())
    assert result.case("v:live", "case_not_run") == ""
    assert json.loads(result.case("v:live", "case_served"))["servers"][0]["layers"] == [1, 2]
    for labels in ("expected_label", "label"):
        assert [set(np.ravel(row)) for row in result.case("v:live", labels)] == [
            {"not_served"}, {"external"}, {"external"}, {"not_served"}], labels
    for figure in ("cos", "rel_l2", "l2", "eta", "kernel_rel_l2", "kernel_own_rel_l2", "repeat_rel_l2"):
        seen = result.case("v:live", figure)
        assert np.all(np.isnan(seen[[0, 3]])) and np.all(np.isfinite(seen[1:3]).any(axis=1)), figure
    for figure in ("cos", "rel_l2", "eta", "kernel_rel_l2"):  # on the reference's inputs
        np.testing.assert_array_equal(result.case("v:live", figure)[1:3], result.case("v:whole", figure)[1:3])
    status = result.case("v:live", "obs_status")
    assert set(status[[0, 3]].ravel()) == {"not_served"} and set(status[1:3].ravel()) == {"ok"}
    drift = result.case("v:live", "drift")
    assert np.all(drift[0] == 0) and np.all(np.isfinite(drift)) and np.all(drift[3] > 0)
    assert result.case("v:live", "n_obs") == 2 * drift.shape[1] and result.case("v:live", "n_missing") == 0
    due = result.case("v:live", "case_kernel_due")
    assert due == np.isfinite(result.case("v:live", "kernel_rel_l2")).sum() and 0 < due < result.case("v:whole", "case_kernel_due")
    assert np.all(np.isfinite(result.case("v:live", "kl")))
    with h5py.File(made.result_path) as file:
        kept = file["captures/y_walk"][0]
    assert np.all(np.isnan(kept[[0, 3]])) and np.all(np.isfinite(kept[1:3]))
    again = harness.run(["verdict", made.result_path]).stdout
    assert "UNCHECKED" in again and said in " ".join(again.split())
    subprocess.run([harness.GOLDEN.parent.parent / "analysis" / "walkaudit-report", "report", made.result_path, "-o", made.folder,
                    "--no-plots"], stdout=subprocess.DEVNULL, check=True)
    assert said in " ".join(next(made.folder.glob("*.md")).read_text().split())


@pytest.mark.parametrize("fault, verdict, said", [("nan", "NON-FINITE", "layer 1, "), ("other_layer", "KERNEL", "layer 1, prompt")])
def test_a_server_of_some_layers_fails_as_one_of_all(shop, fault, verdict, said):
    with server(shop, owned=(1, 2), fault=fault) as s:
        result = job(shop, served(s)).result(expect=1)
    assert result.verdicts() == {"v:live": verdict}
    assert said in result.case("v:live", "fail_reasons") and "no server has layers 0, 3 of 4" in result.case("v:live", "fail_reasons")


@pytest.mark.parametrize("ranks", [None, 2])
def test_a_server_without_any_layer_ends_the_case_and_not_the_run(shop, ranks):
    with server(shop, owned=(7, 7)) as none:
        made = job(shop, served(none), {"path": "full_mmap"})
        done = made.run(ranks=ranks, expect=1)
        only = job(shop, served(none))
        only.run(ranks=ranks, expect=1)
    result = harness.Result(made.result_path)
    assert result.verdicts() == {"v:live": "NOT-RUN", "v:full_mmap": "PASS"}
    assert result.case("v:live", "fail_reasons") == result.case("v:live", "case_not_run")
    assert result.case("v:live", "case_not_run") == "no server has any of the model's 4 layers"
    assert "no server has any of the model's 4 layers" in " ".join(done.stdout.split())
    assert json.loads(result.case("v:live", "case_served"))["servers"][0]["layers"] == []
    alone = harness.Result(only.result_path)
    assert alone.verdicts() == {"v:live": "NOT-RUN"} and list(alone["vindex_verdict"]) == ["LEFT-OUT"]  # nobody read its files


def test_a_busy_server_is_asked_again(shop):
    with server(shop, busy=4) as s:
        result = job(shop, served(s), served_retries=5).result()
    assert result.verdicts() == {"v:live": "MEASURED"}
    with server(shop, busy=10**6) as s:
        line = harness.one_error_line(job(shop, served(s), served_retries=1).run(expect=3))
    assert "no answer in 2 attempts of at most 1 s: it answers " in line, line


@pytest.mark.parametrize("ranks", [None, 2])
def test_a_server_that_dies_half_way_leaves_the_parts(shop, tmp_path, ranks):
    keys = {"prompts": harness.corpus(tmp_path / "corpus.jsonl", 6), "batch": {"rows": 8}}
    with server(shop) as s:
        whole, stopped = job(shop, served(s), **keys), job(shop, served(s), **keys)
        whole.run()
        needed = s.asked
        s.asked, s.dies_after = 0, needed * 2 // 3
        line = harness.one_error_line(stopped.run(ranks=ranks, expect=75))
        assert "no answer in 3 attempts" in line and "the same command resumes it" in line, line
        s.asked, s.dies_after = 0, None
        stopped.run(ranks=ranks)
        harness.assert_equal_bits(whole, stopped)
        assert s.asked < needed  # what was there was not asked again
    with server(shop, dies_after=8) as s:  # 4 probes, and dead before any batch is done
        line = harness.one_error_line(job(shop, served(s), **keys).run(expect=3))
        assert "no answer in 3 attempts" in line, line


def http(kind="application/x-larql-ffn", length=1036, status="200 OK", more="", body=b"x" * 100):
    size = f"Content-Length: {length}\r\n" if length is not None else ""
    return f"HTTP/1.1 {status}\r\nContent-Type: {kind}\r\n{size}{more}\r\n".encode() + body


@pytest.mark.parametrize("raw, said", [
    (http(status="307 Temporary Redirect", length=0, more="Location: http://127.0.0.1:9/\r\n", body=b""),
     "HTTP 307, expected 200; redirects are not followed"),
    (http("text/html", 39, body=b"<html><body>Please log in.</body></html>"), "Content-Type 'text/html', expected application/x-larql"),
    (http(status="204 No Content", length=None, body=b""), "HTTP 204, expected 200; at layer 0"),
    (http(body=b""), "no answer in 2 attempts of at most 1 s: transfer closed with 1036 bytes remaining"),
    (http(length=2**63), "the answer has 100 bytes, expected 1036"),  # no number that libcurl believes: it reads on to the end
    (http(length=2**63 - 1), "no answer in 2 attempts of at most 1 s: transfer closed with 92233720368547757"),
    (http(length=-5), "no answer in 2 attempts of at most 1 s: Invalid Content-Length"),
    (http(length=None, body=b"x" * (3 << 20)), "the answer to /v1/walk-ffn is longer than 1048576 bytes"),
    (http(more="X: y\r\n" * 100_000), "no answer in 2 attempts of at most 1 s: Too large response headers"),
    (http(length=None, more="Transfer-Encoding: chunked\r\n", body=b"f" * 18 + b"\r\nabc"), "Too long hexadecimal number"),
    (http(length=39, more="Content-Encoding: gzip\r\n", body=b"\x1f\x8b" + b"z" * 37), "the answer has 39 bytes, expected 1036"),
    (b"220 ready\r\n", "Received HTTP/0.9 when not allowed"),
    (b"", "Empty reply from server"),
    (http("text/\x1b[31mred", 3, body=b"abc"), "Content-Type 'text/?[31mred'"),
    (http("text/plain", 40, "500 Oops", body=b"\x1b[31m\0" * 8), "HTTP 500, expected 200: '\\x1B[31m'"),
], ids=["redirect", "page", "204", "headers", "2^63", "2^63-1", "-5", "endless", "long headers", "chunk", "gzip", "no http", "nothing",
        "escape in type", "escape in text"])
def test_what_is_no_answer_of_the_protocol_is_one_line(shop, raw, said):
    with server(shop, raw=raw) as s:
        broken = job(shop, served(s), served_retries=1)
        line = harness.one_error_line(broken.run(expect=3))
        assert s.asked <= 4  # libcurl itself asks again where a connection that it kept was closed
    assert said in line and s.url in line and "\x1b" not in line, line
    harness.nothing_half_written(broken)


def test_an_answer_in_chunks_is_an_answer(shop):
    with server(shop, chunked=True) as s:
        assert job(shop, served(s, bucket="exact")).result().verdicts() == {"v:live": "PASS"}


@pytest.mark.parametrize("wire", ["f32", "q8k"])
def test_one_position_at_a_time_is_what_it_is_in_company(shop, wire):
    with server(shop) as s, server(shop, fault="order") as other:
        whole = job(shop, served(s, wire=wire, rows="decode")).result()
        apart = job(shop, served(other, wire=wire, rows="decode", kernel_tolerance=0.1)).result()
    assert np.all(whole.case("v:live", "decode_rel_l2") == 0)
    seen = apart.case("v:live", "decode_rel_l2")
    assert np.all((seen[1] > 1e-3) == (wire == "f32")) and np.all(seen[[0, 2, 3]] == 0)  # q8k has no company


@pytest.mark.parametrize("ranks, victim, how, other", [
    (None, "itself", signal.SIGKILL, 3), (2, "rank", signal.SIGKILL, None), (2, "launcher", signal.SIGKILL, 4), (None, "itself", signal.SIGTERM, 2)])
def test_a_run_that_is_killed_while_it_asks_goes_on_to_the_same_bits(shop, tmp_path, ranks, victim, how, other):
    keys = {"prompts": harness.corpus(tmp_path / "corpus.jsonl", 6), "batch": {"rows": 8}, "served_timeout": 20}
    with server(shop) as s:
        whole, killed = job(shop, served(s), **keys), job(shop, served(s), **keys)
        whole.run()
        needed, s.asked, s.delay = s.asked, 0, 0.05
        process = harness.start(killed, ranks)
        harness.wait_for_parts(killed, process, 1)
        os.kill(harness.children(process.pid)[-1] if victim == "rank" else process.pid, how)
        process.wait(timeout=60)
        harness.wait_until_gone(killed)
        assert harness.parts(killed) and not killed.result_path.exists()
        s.asked, s.delay = 0, 0.0
        killed.run(ranks=other)
        assert s.asked - 4 * (other or 1) < needed - 4  # each rank asks once for every layer at the start
    harness.assert_equal_bits(whole, killed)


def test_of_two_servers_the_one_that_died_is_named(shop, tmp_path):
    keys = {"prompts": harness.corpus(tmp_path / "corpus.jsonl", 6), "batch": {"rows": 8}}
    with server(shop) as s, server(shop) as mortal:
        whole, stopped = job(shop, served(s, mortal), **keys), job(shop, served(s, mortal), **keys)
        whole.run()
        needed = mortal.asked
        mortal.asked, mortal.dies_after = 0, needed * 2 // 3
        line = harness.one_error_line(stopped.run(expect=75))
        assert mortal.url in line and s.url not in line and re.search(r"\d of 6 prompts are done, .*; the same command resumes it", line), line
        line = harness.one_error_line(stopped.run(expect=3))  # nothing is done in this run
        assert mortal.url in line, line
        told = harness.run(["status", stopped.path], expect=3).stdout
        assert "unfinished" in told and "the last run failed: " in told and mortal.url in told
        mortal.dies_after = None
        stopped.run()
        harness.assert_equal_bits(whole, stopped)


def test_a_run_does_not_go_on_with_servers_of_other_layers(shop, tmp_path):
    """Its parts would hold layers that others lack: it says so, keeps the parts, and goes on when the layers are back."""
    keys = {"prompts": harness.corpus(tmp_path / "corpus.jsonl", 6), "batch": {"rows": 8}}
    with server(shop, owned=(0, 2)) as s:
        whole, stopped = job(shop, served(s), **keys), job(shop, served(s), **keys)
        whole.run()
        needed = s.asked
        s.asked, s.dies_after = 0, needed * 2 // 3
        stopped.run(expect=75)
        kept = harness.parts(stopped)
        s.dies_after = None
        for owned, words in (((0, 3), "layers 0-3"), ((1, 1), "layer 1"), ((5, 5), "no layer")):
            s.owned = owned
            line = harness.one_error_line(stopped.run(expect=3))
            assert "served: layers 0-2 by a server of" in line and f"served: {words} by a server of" in line, line
            assert "use --fresh to compute it anew" in line and kept and harness.parts(stopped) == kept
        s.owned, s.asked = (0, 2), 0
        stopped.run(ranks=2)
        assert s.asked < needed
        harness.assert_equal_bits(whole, stopped)
        s.owned = (0, 3)  # and the result, once it is there, is of the layers that were served
        assert "layers 0-3" in harness.one_error_line(stopped.run(expect=3))
        stopped.run(words=["--fresh"])
    assert harness.Result(stopped.result_path).verdicts() == {"v:live": "MEASURED"}


def test_servers_behind_one_url_must_have_the_same_layers(shop):
    with server(shop, fault="several") as s:
        job(shop, served(s)).run()
        s.clients.clear()
        broken = job(shop, served(s))
        line = harness.one_error_line(broken.run(ranks=3, expect=3))
    assert re.search(r"rank [12] found layers 0-[23] by a server of \w+, and rank 0 something else; a URL must lead all ranks to the same server",
                     line), line
    harness.nothing_half_written(broken)


def test_nobody_there_is_one_line(shop):
    with server(shop) as s:
        pass
    line = harness.one_error_line(job(shop, served(s), served_retries=0).run(expect=3))
    assert "no answer in 1 attempt of at most 1 s" in line and s.url in line, line


def test_a_key_is_sent_and_kept_nowhere(shop, monkeypatch):
    with server(shop, key="very-secret-word") as s:
        refused = job(shop, served(s))
        line = harness.one_error_line(refused.run(expect=3))
        assert "HTTP 401, expected 200; the key belongs into WALKAUDIT_SERVED_KEY" in line, line
        done = refused.run(WALKAUDIT_SERVED_KEY="very-secret-word")
        assert b"very-secret-word" not in refused.result_path.read_bytes()
        assert "very-secret-word" not in done.stdout + done.stderr
        monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")  # loopback goes by no proxy
        job(shop, served(s)).run(WALKAUDIT_SERVED_KEY="very-secret-word")
    with server(shop) as s:  # none, and none needed
        job(shop, served(s)).run(WALKAUDIT_SERVED_KEY="")
        assert s.authorizations == {None}
        for key in ("line\nbreak", "schl\u00fcssel"):
            line = harness.one_error_line(job(shop, served(s)).run(expect=2, WALKAUDIT_SERVED_KEY=key))
            assert "WALKAUDIT_SERVED_KEY holds a character that is not printable ASCII" in line, line


@pytest.mark.parametrize("layer", [9, 1])
def test_a_key_that_a_server_repeats_is_not_kept_either(shop, layer):
    with server(shop, fault="repeats_key", layer=layer) as s:
        made = job(shop, served(s))
        done = made.run(WALKAUDIT_SERVED_KEY="very-secret-word", expect=3 if layer == 1 else 0)
        assert s.authorizations == {"Bearer very-secret-word"}
    if layer == 1:
        assert "/v1/walk-ffn is answered by HTTP 403, expected 200: " in harness.one_error_line(done)
    else:
        facts = json.loads(harness.Result(made.result_path).case("v:live", "case_served"))
        assert facts["servers"][0]["stats"]["model"] == facts["servers"][0]["patches"] == "Bearer ****************"
    for path in [path for path in made.folder.rglob("*") if path.is_file()]:
        assert b"secret-word" not in path.read_bytes(), path
    assert "secret-word" not in done.stdout + done.stderr


def test_patches_that_change_end_the_run(shop):
    with server(shop, fault="patched") as s:
        line = harness.one_error_line(job(shop, served(s)).run(expect=3))
    assert "its patches changed while this run asked it" in line, line


def test_it_is_refused_what_it_cannot_serve(shop):
    with server(shop, stats={"ffn_weights": {"moe": True}}) as s:
        assert "experts" in harness.one_error_line(job(shop, served(s)).run(expect=3))
    with server(shop, stats={"hidden_size": 512}) as s:
        line = harness.one_error_line(job(shop, served(s)).run(expect=3))
        assert "it serves 4 layers of hidden size 512, the model has 4 of 256" in line, line
    with server(shop, stats={"layers": "four"}) as s:
        assert "/v1/stats" in harness.one_error_line(job(shop, served(s)).run(expect=3))


@pytest.mark.parametrize("url, said", [
    ("http://user:password@127.0.0.1:1", "holds a user or password"),
    ("ftp://127.0.0.1", "is no URL with http"),
    ("http://127.0.0.1:1?a=b", "holds '?' or '#'"),
    ("  ", "needs 'url'"),
    (["http://127.0.0.1:1", "http://127.0.0.1:2", "http://127.0.0.1:1"], "url 3 of path 'served' of case 'v:live' is url 1 again"),
])
def test_urls_that_are_not_asked(shop, url, said):
    path = {"path": "served", "url": url, "name": "live"}
    line = harness.one_error_line(job(shop, path).run(expect=2))
    assert said in line and "password@" not in line, line


@pytest.mark.parametrize("path, said", [
    ({"path": "served"}, "served needs 'url'"),
    ({"path": "served", "url": "http://a", "wire": "f64"}, "expected f32, f16, i8 or q8k"),
    ({"path": "served", "url": "http://a", "library": "a.so"}, "takes no 'file', 'library' or 'command'"),
    ({"path": "exact", "url": "http://a"}, "takes no 'url' or 'wire'"),
    ({"path": "external", "library": "a.so", "wire": "f32"}, "takes no 'url' or 'wire'"),
    ({"path": "served", "url": "http://a", "like": "served"}, "expected another walk path"),
])
def test_what_a_job_cannot_say(shop, path, said):
    assert said in harness.one_error_line(job(shop, path).run(expect=2))
