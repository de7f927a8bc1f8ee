/* layers/layer_00.weights, beside a router and biases of two experts. */
#include "fuzz_vindex.h"

static const char MANIFEST[] =
    "[{\"key\": \"layers.0.mlp.router.weight\", \"kind\": \"vector\", \"shape\": [64], \"offset\": "
    "0, \"length\": 256, "
    "\"file\": \"norms.bin\"}, {\"key\": \"layers.0.mlp.experts.gate_up_proj_bias\", \"kind\": "
    "\"packed_bf16\", "
    "\"shape\": [2, 32], \"offset\": 256, \"length\": 128, \"file\": \"norms.bin\"}]";

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static bool ready;
    if (!ready) {
        fuzz_write_index("");
        fuzz_make_directory("layers");
        fuzz_write_zeros("norms.bin", 384);
        fuzz_write("weight_manifest.json", (const uint8_t *)MANIFEST, sizeof MANIFEST - 1);
    }
    ready = true;
    fuzz_write("layers/layer_00.weights", data, size);
    fuzz_open_vindex();
    return 0;
}
