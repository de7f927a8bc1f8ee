/* index.json of a vindex that has every payload: float, Q4_0, K-quant, FP4. */
#include "fuzz_numbers.h"
#include "fuzz_vindex.h"

/* Sizes that fit 2 layers of 16 features with H 32, so that an index of that shape is accepted. */
static void write_payloads(void)
{
    fuzz_write_zeros("gate_vectors.bin", 4096);
    fuzz_write_zeros("up_features.bin", 4096);
    fuzz_write_zeros("down_features.bin", 4096);
    fuzz_write_zeros("interleaved.bin", 3 * 4096);
    fuzz_write_zeros("interleaved_q4.bin", 3 * 18 * 32);
    fuzz_write_zeros("up_features_fp4.bin", 32 * 137);
    fuzz_write_zeros("down_features_fp8.bin", 32 * 257);
    fuzz_write_zeros("embeddings.bin", 1024);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static bool ready;
    if (!ready)
        write_payloads();
    ready = true;
    fuzz_write("index.json", data, size);
    fuzz_open_vindex();
    return 0;
}
