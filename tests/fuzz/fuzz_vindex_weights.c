/* weight_manifest.json, with files for some of what it may name. */
#include "fuzz_numbers.h"
#include "fuzz_vindex.h"

static void write_once(void)
{
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
