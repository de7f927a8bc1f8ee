"""A server that speaks LARQL's FFN protocol (doc/larql-2026-08.md 4), for tests: with numpy, on a vindex's f32 files.

    with FfnServer(vindex, layers, features, hidden, activation) as server:  server.url

`fault` names what it does wrong, from layer `layer` on where that makes sense; `wires` are the types that it answers in when
asked for them, beside f32. `raw` are bytes sent for an answer to every FFN request, headers and all. Requests are counted in
`asked`, all that were sent are checked to be well-formed.
"""
import contextlib
import http.server
import json
import os
import struct
import threading
import time

import numpy as np

FFN, FFN_F16, FFN_I8 = (f"application/x-larql-ffn{end}" for end in ("", "-f16", "-i8"))
Q8K = "application/x-larql-ffn-q8k-batch"
SEVERAL = 0xffffffff  # in the place of a layer: how many follow, and which
LIMIT = 64 << 20


def silu(z):
    return z / (1 + np.exp(-z))


def gelu_tanh(z):
    return 0.5 * z * (1 + np.tanh(0.7978845608028654 * (z + 0.044715 * z**3)))


def i8_encode(rows):
    """Per position: f32 scale, f32 0, int8 values; half away from zero."""
    out = b""
    for row in rows.astype(np.float32):
        amax = np.max(np.abs(row))
        scale = np.float32(1) if amax == 0 else amax / np.float32(127)
        steps = np.clip(row / scale, -127, 127)
        steps = np.sign(steps) * np.floor(np.abs(steps) + np.float32(0.5))
        out += struct.pack("<2f", scale, 0) + steps.astype(np.int8).tobytes()
    return out


def i8_decode(data, rows, hidden):
    entry = np.frombuffer(data, np.dtype([("scale", "<f4"), ("zero", "<f4"), ("q", "i1", hidden)]), rows)
    assert np.all(entry["zero"] == 0)
    return entry["q"].astype(np.float32) * entry["scale"][:, None]


def q8k_decode(data, hidden):
    """One entry's q, d and sums; the sums must be those of q."""
    blocks = hidden // 256
    q = np.frombuffer(data, "i1", hidden)
    d = np.frombuffer(data, "<f4", blocks, hidden)
    sums = np.frombuffer(data, "<i2", blocks * 8, hidden + 4 * blocks)
    assert np.array_equal(q.reshape(-1, 32).astype(np.int32).sum(1), sums)
    return q.astype(np.float32) * np.repeat(d, 256)


class Refusal(Exception):
    def __init__(self, status, text):
        super().__init__(text)
        self.status = status


class FfnServer:
    def __init__(self, vindex, layers, features, hidden, activation, fault=None, layer=1, owned=None, wires=(),
                 key=None, stats=None, busy=0, dies_after=None, delay=0.0, raw=None, chunked=False):
        shape = layers, features, hidden
        self.gate, self.up, self.down = (np.fromfile(os.path.join(vindex, name), "<f4").reshape(shape)
                                         for name in ("gate_vectors.bin", "up_features.bin", "down_features.bin"))
        self.activation = {"silu": silu, "gelu_tanh": gelu_tanh}[activation]
        self.layers, self.hidden, self.features = layers, hidden, features
        self.fault, self.layer, self.owned, self.wires, self.key = fault, layer, owned or (0, layers - 1), wires, key
        self.stats, self.busy, self.dies_after, self.delay = stats or {}, busy, dies_after, delay
        self.raw, self.chunked, self.authorizations, self.clients = raw, chunked, set(), []
        self.asked, self.patches, self.bodies, self.wrong = 0, 0, [], []
        self.lock = threading.Lock()

    def __enter__(self):
        owner = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def log_message(self, *_):
                pass

            def do_GET(self):
                owner.serve(self, b"")

            def do_POST(self):
                owner.serve(self, self.rfile.read(int(self.headers["Content-Length"])))

        self.http = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.http.daemon_threads = True
        self.url = f"http://127.0.0.1:{self.http.server_address[1]}"
        threading.Thread(target=self.http.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
        return self

    def __exit__(self, *_):
        self.http.shutdown()
        self.http.server_close()
        assert not self.wrong, self.wrong  # a request that the protocol does not know

    # --- Answers ---

    def serve(self, handler, body):
        try:
            status, kind, answer = 200, "application/json", self.answer(handler, body)
            if isinstance(answer, tuple):
                kind, answer = answer
        except Refusal as refusal:
            status, kind = refusal.status, "application/json"
            answer = json.dumps({"error": str(refusal)}).encode() if str(refusal) else b""
        except (AssertionError, ValueError, struct.error) as wrong:
            self.wrong.append(repr(wrong))
            status, kind, answer = 400, "text/plain", repr(wrong).encode()
        if answer is None:  # gone
            handler.close_connection = True
            return
        if kind == "raw":
            handler.close_connection = True
            with contextlib.suppress(OSError):  # whoever asked need not wait for the end
                handler.wfile.write(answer)
            return
        handler.send_response(status)
        handler.send_header("Content-Type", kind)
        if self.chunked:
            handler.send_header("Transfer-Encoding", "chunked")
            pieces = [answer[at:at + 1000] for at in range(0, len(answer), 1000)] + [b""]
            answer = b"".join(b"%x\r\n%s\r\n" % (len(piece), piece) for piece in pieces)
        else:
            handler.send_header("Content-Length", str(len(answer)))
        handler.end_headers()
        if kind != "application/json" and self.fault == "half" and self.is_late(body):
            handler.wfile.write(answer[:len(answer) // 2])
            handler.close_connection = True
            return
        handler.wfile.write(answer)

    def is_late(self, body):
        """Does a fault show: is it of the layer, and more than a probe?"""
        layer, rows = struct.unpack_from("<2I", body)
        return layer == self.layer and rows > 1

    def answer(self, handler, body):
        self.authorizations.add(handler.headers["Authorization"])
        if self.key and handler.headers["Authorization"] != f"Bearer {self.key}":
            raise Refusal(401, "")
        if self.fault == "repeats_key":
            return self.repeat_key(handler, body)
        if handler.path == "/v1/stats":
            return json.dumps({"model": "test", "family": "test", "mode": "ffn-service", "layers": self.layers,
                               "hidden_size": self.hidden, "features": self.features, "dtype": "f32",
                               "uptime_seconds": time.time(), **self.stats}).encode()
        if handler.path == "/v1/patches":
            self.patches += 1
            changed = self.fault == "patched" and self.patches > 1
            return json.dumps({"patches": ["a"] if changed else []}).encode()
        with self.lock:
            if handler.client_address not in self.clients:
                self.clients.append(handler.client_address)
            self.asked += 1
            if self.dies_after is not None and self.asked > self.dies_after:
                return None
            if self.busy > 0:
                self.busy -= 1
                raise Refusal(429 if self.busy % 2 else 503, "busy")
        if self.raw is not None:
            return "raw", self.raw
        assert len(body) <= LIMIT
        if handler.path == "/v1/walk-ffn-q8k":
            return self.q8k(handler, body)
        assert handler.path == "/v1/walk-ffn", handler.path
        return self.ffn(handler, body)

    def repeat_key(self, handler, body):
        """The Authorization header in every text: in stats, in patches, and in the refusal of layer `layer`."""
        said = handler.headers["Authorization"]
        if handler.path == "/v1/stats":
            return json.dumps({"layers": self.layers, "hidden_size": self.hidden, "model": said}).encode()
        if handler.path == "/v1/patches":
            return said.encode()
        if self.is_late(body):
            raise Refusal(403, said)
        return self.ffn(handler, body)

    def check_layer(self, handler, layer):
        first, last = self.owned
        if self.fault == "several" and handler.client_address != self.clients[0]:  # another server behind the same URL
            last -= 1
        if not first <= layer <= last:
            raise Refusal(400, f"layer {layer} not served by this shard (owned: {first}-{last})")

    def q8k(self, handler, body):
        assert handler.headers["Content-Type"] == Q8K
        count, layer, blocks = struct.unpack_from("<3I", body)
        assert count == 1 and blocks == self.hidden // 256 and len(body) == 12 + blocks * 276
        self.check_layer(handler, layer)
        y = self.compute(layer, q8k_decode(body[12:], self.hidden)[None])
        return "application/octet-stream", struct.pack("<3I", 1, layer, self.hidden) + y.tobytes()

    def ffn(self, handler, body):
        layers, start = struct.unpack_from("<I", body), 4
        if layers[0] == SEVERAL:
            count, = struct.unpack_from("<I", body, 4)
            layers, start = struct.unpack_from(f"<{count}I", body, 8), 8 + 4 * count
        rows, flags, top_k = struct.unpack_from("<3I", body, start)
        assert flags == 1 and top_k == 0 and rows >= 1
        data = body[start + 12:]
        for layer in layers:
            self.check_layer(handler, layer)
        if len(layers) > 1:
            return self.several(layers, self.received(handler, data, rows))
        return self.one(handler, body, layers[0], self.received(handler, data, rows))

    def received(self, handler, data, rows):
        sent = handler.headers["Content-Type"]
        width = {FFN: 4 * self.hidden, FFN_F16: 2 * self.hidden, FFN_I8: 8 + self.hidden}[sent]
        assert len(data) == rows * width, (len(data), rows, sent)
        if sent == FFN_I8:
            return i8_decode(data, rows, self.hidden)
        return np.frombuffer(data, "<f4" if sent == FFN else "<f2").reshape(rows, self.hidden).astype(np.float32)

    def several(self, layers, x):
        """In f32 always: nobody here asks otherwise."""
        out = struct.pack("<2If", SEVERAL, len(layers), 0.5)
        for layer in layers:
            y = self.compute(layer, x)
            out += struct.pack("<3I", layer, len(x), y.size) + y.tobytes()
        return FFN, out

    def one(self, handler, body, layer, x):
        rows, accepted = len(x), handler.headers["Accept"]
        y = self.compute(layer, x)
        time.sleep(self.delay)
        head_layer = layer + 1 if self.fault == "other_head" and self.is_late(body) else layer
        head = struct.pack("<2If", head_layer, rows, 0.5)
        if accepted == FFN_I8 and "i8" in self.wires:
            return FFN_I8, head + i8_encode(y)
        if accepted == FFN_F16 and "f16" in self.wires:
            with np.errstate(over="ignore"):
                return FFN_F16, head + y.astype("<f2").tobytes()
        cut = -4 if self.fault == "wrong_length" and self.is_late(body) else None
        return FFN, (head + y.tobytes())[:cut]

    def compute(self, layer, x):
        """y of f32 rows, each by itself, in f64; and what is wrong with them."""
        of = layer
        if self.fault == "other_layer" and layer == self.layer:
            of = (layer + 1) % self.layers
        gate, up, down = (m[of].astype(np.float64) for m in (self.gate, self.up, self.down))
        y = np.stack([(self.activation(gate @ row) * (up @ row)) @ down for row in x.astype(np.float64)])
        y = y.astype(np.float32)
        if layer != self.layer or (len(y) < 2 and self.fault != "cache"):
            return y
        if self.fault == "nan":
            y[0, 3] = np.nan
        elif self.fault == "near":  # as another processor or BLAS may sum
            y *= np.float32(1 + 5e-5)
        elif self.fault == "slow":
            time.sleep(3)
        elif self.fault == "unrepeatable":
            y[0] *= 1 + 1e-6 * (self.asked % 7)
        elif self.fault == "order":
            y *= np.float32(1) + np.arange(len(y), dtype=np.float32)[:, None] / 1024
        elif self.fault == "cache" and len(y) == 1:  # one position: whatever was asked first
            self.kept = getattr(self, "kept", y)
            return self.kept
        return y
