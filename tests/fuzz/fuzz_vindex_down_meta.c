/* down_meta.bin. */
#include "fuzz_vindex.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static bool ready;
    if (!ready)
        fuzz_write_index("");
    ready = true;
    fuzz_write("down_meta.bin", data, size);
    fuzz_open_vindex();
    return 0;
}
