/* Both K-quant manifests: the first byte tells which the rest is, and whether there is a gate
 * file. */
#include "fuzz_numbers.h"
#include "fuzz_vindex.h"

static void write_once(void)
{
    fuzz_write_index("");
    fuzz_write_zeros("interleaved_q4k.bin", 2 * (2 * 16 * 144 + 32 * 210));
    fuzz_write_zeros("down_features_q4k.bin", 2 * 256 * 210);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static bool ready;
    char path[FUZZ_PATH];
    if (!ready)
        write_once();
    ready = true;
    if (size == 0)
        return 0;
    bool down = (data[0] & 1) != 0, gate = (data[0] & 2) != 0;
    (void)remove(fuzz_path(path, "interleaved_q4k_manifest.json"));
    (void)remove(fuzz_path(path, "down_features_q4k_manifest.json"));
    (void)remove(fuzz_path(path, "gate_vectors.bin"));
    if (gate)
        fuzz_write_zeros("gate_vectors.bin", 4096);
    fuzz_write(down ? "down_features_q4k_manifest.json" : "interleaved_q4k_manifest.json", data + 1,
               size - 1);
    fuzz_open_vindex();
    return 0;
}
