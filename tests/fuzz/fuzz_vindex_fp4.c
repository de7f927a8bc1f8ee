/* The fp4 object of index.json: the input is its text. */
#include "fuzz_numbers.h"
#include "fuzz_vindex.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const char before[] = FUZZ_INDEX_HEAD ", \"fp4\": ";
    static bool ready;
    if (!ready) {
        fuzz_write_zeros("gate_vectors.bin", 4096);
        fuzz_write_zeros("down_features.bin", 4096);
        fuzz_write_zeros("up_features_fp4.bin", 32 * 137);
        fuzz_write_zeros("down_features_fp8.bin", 32 * 257);
    }
    ready = true;
    char *text = malloc(sizeof before + size + 1);
    fuzz_require(text != NULL, "memory");
    memcpy(text, before, sizeof before - 1);
    memcpy(text + sizeof before - 1, data, size);
    text[sizeof before - 1 + size] = '}';
    fuzz_write("index.json", text, sizeof before + size);
    free(text);
    fuzz_open_vindex();
    return 0;
}
