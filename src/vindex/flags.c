/* Upstream's view of a vindex (vindex-format 7). Only inspect shows it; our own cases look at
 * `present`. */
#include "vindex/flags.h"
#include "vindex/parts.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

static bool has_file(const wa_vindex *vindex, int dir, wa_payload payload)
{
    struct stat info;
    return fstatat(dir, wa_vindex_file(vindex, payload), &info, 0) == 0 && S_ISREG(info.st_mode);
}

wa_vindex_flags wa_vindex_upstream_flags(const wa_vindex *vindex)
{
    wa_vindex_flags flags = {.has_gate_vectors = true}; /* an empty map when there is no source */
    int dir = open(vindex->path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (dir < 0)
        return flags;
    flags.has_down_features = has_file(vindex, dir, WA_PAYLOAD_DOWN_FEATURES);
    flags.has_full_mmap_ffn =
        flags.has_down_features && has_file(vindex, dir, WA_PAYLOAD_UP_FEATURES);
    flags.has_interleaved = has_file(vindex, dir, WA_PAYLOAD_INTERLEAVED);
    flags.has_interleaved_q4 = has_file(vindex, dir, WA_PAYLOAD_INTERLEAVED_Q4);
    flags.has_interleaved_q4k =
        has_file(vindex, dir, WA_PAYLOAD_INTERLEAVED_Q4K); /* even without manifest (U13) */
    flags.has_down_features_q4k = vindex->present[WA_PAYLOAD_DOWN_FEATURES_Q4K];
    flags.has_fp4_storage = vindex->maps->fp4_listed;
    close(dir);
    return flags;
}

const char *wa_vindex_upstream_bucket(const wa_vindex_flags *flags)
{
    if (flags->has_fp4_storage)
        return "fp4";
    if (flags->has_interleaved || flags->has_full_mmap_ffn || flags->has_down_features)
        return "exact";
    return flags->has_interleaved_q4k || flags->has_interleaved_q4 ? "quantized" : "exact";
}
