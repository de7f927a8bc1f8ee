/* layers/layer_00.weights. */
#include "fuzz_vindex.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static bool ready;
    if (!ready) {
        fuzz_write_index("");
        fuzz_make_directory("layers");
    }
    ready = true;
    fuzz_write("layers/layer_00.weights", data, size);
    fuzz_open_vindex();
    return 0;
}
