"""Bytes of weights that one position's FFN needs: with K features the whole gate and K rows each of up and down."""
from . import layout

# Bits of a stored weight, scales of its block included; what is not here is not known beforehand.
BITS = {"f64": 64, "f32": 32, "f16": 16, "bf16": 16, "Q8_0": 8.5, "Q6_K": 6.5625, "Q6_K_ggml": 6.5625, "Q5_K": 5.5, "Q5_0": 5.5, "Q5_1": 6,
        "Q4_K": 4.5, "Q4_0": 4.5, "Q4_0_ggml": 4.5, "Q4_1": 5, "Q3_K": 3.4375, "Q2_K": 2.625, "IQ4_NL": 4.5, "IQ4_XS": 4.25, "MXFP4": 4.25,
        "MXFP4_blocks": 4.25, "F8_E4M3": 8}


def touched(result, case):
    """Bytes, all layers. Without a K every stored byte that the case reads; None where the formats of a K are not known."""
    read, k = result["bytes_read"][case], int(result["case_k"][case])
    if k < 0:
        return int(read.sum())
    payloads, vindex = result["case_payload"][case], int(result["case_vindex"][case])
    if vindex < 0 or min(payloads) < 0 or "choice" in result.size:  # with experts, K is of each
        return None
    formats = result.words("row_err_format")
    rows = result["row_err_rows"]
    total = 0.0
    for layer in range(result.size["layer"]):
        weights = [BITS.get(formats[vindex, payload, layer, at]) for at, payload in enumerate(payloads)]
        features = int(rows[vindex, payloads[0], layer, 0])  # a row of the gate is a feature
        if None in weights or features < 1:
            return None
        share = min(k / features, 1.0)
        parts = dict(zip(layout.PROJECTIONS, weights))
        total += float(read[layer]) * (parts["gate"] + (parts["up"] + parts["down"]) * share) / sum(weights)
    return int(round(total))
