/* weight_manifest.json, with files for some of what it may name, and experts of which it may name
 * the router. */
#include "fuzz_numbers.h"
#include "fuzz_vindex.h"

/* Two experts of 16 features in Q8_0, unpadded. */
static void write_layer(void)
{
    enum { GATE_UP = 32 * 34, DOWN = 16 * 34, ENTRY = GATE_UP + DOWN, START = 24 + 2 * 32 };
    uint8_t bytes[START + 2 * ENTRY] = {0};
    const uint32_t header[] = {0x5752594C, 1, 6, 2, 16, 32};
    memcpy(bytes, header, sizeof header);
    for (uint64_t e = 0; e < 2; e++) {
        const uint64_t row[] = {START + ENTRY * e, GATE_UP, START + ENTRY * e + GATE_UP, DOWN};
        memcpy(bytes + 24 + 32 * e, row, sizeof row);
    }
    fuzz_make_directory("layers");
    fuzz_write("layers/layer_00.weights", bytes, sizeof bytes);
}

static void write_once(void)
{
    write_layer();
    fuzz_write_index("");
    fuzz_write_zeros("gate_vectors.bin", 4096);
    fuzz_write_zeros("up_weights.bin", 4096);
    fuzz_write_zeros("down_weights.bin", 4096);
    fuzz_write_zeros("norms.bin", 256);
    fuzz_write_zeros("model_weights.bin", 1000);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static bool ready;
    if (!ready)
        write_once();
    ready = true;
    fuzz_write("weight_manifest.json", data, size);
    fuzz_open_vindex();
    return 0;
}
