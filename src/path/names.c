/* Names of paths, labels and buckets, expanded from the lists of path.h. */
#include "path/path.h"

const char *wa_path_name(wa_path path)
{
    static const char *const names[WA_PATH_COUNT] = {
#define PATH_NAME(id, name, meaning) [WA_PATH_##id] = name,
        WA_PATH_LIST(PATH_NAME)
#undef PATH_NAME
    };
    return names[path];
}

bool wa_path_parse(const char *name, wa_path *out)
{
    if (strcmp(name, WA_PATH_KQUANT_DEQUANT) == 0)
        name = wa_path_name(WA_PATH_INTERLEAVED_Q4K);
    for (int path = WA_PATH_DENSE + 1; path < WA_PATH_COUNT; path++) {
        if (strcmp(name, wa_path_name((wa_path)path)) != 0)
            continue;
        *out = (wa_path)path;
        return true;
    }
    return false;
}

bool wa_path_is_foreign(wa_path path)
{
    return path == WA_PATH_EXTERNAL || path == WA_PATH_SERVED;
}

bool wa_path_is_checkpoint(wa_path path)
{
    return path == WA_PATH_CHECKPOINT || path == WA_PATH_CHECKPOINT_MODEL;
}

bool wa_path_is_of_experts(wa_path path)
{
    return path == WA_PATH_EXPERTS || path == WA_PATH_EXPERTS_Q8K;
}

const char *wa_ladder_word(wa_ladder ladder)
{
    static const char *const words[] = {
#define LADDER_WORD(id, word) [WA_LADDER_##id] = (word),
        WA_LADDER_LIST(LADDER_WORD)
#undef LADDER_WORD
    };
    return words[ladder];
}

const char *wa_label_text(wa_label label)
{
    static const char *const texts[WA_LABEL_COUNT] = {
#define LABEL_TEXT(id, code, text) [code] = text,
        WA_LABEL_LIST(LABEL_TEXT)
#undef LABEL_TEXT
    };
    return texts[label];
}

bool wa_bucket_parse(const char *name, wa_bucket *out)
{
    for (int bucket = 0; bucket < WA_BUCKET_COUNT; bucket++) {
        if (strcmp(name, wa_bucket_name((wa_bucket)bucket)) != 0)
            continue;
        *out = (wa_bucket)bucket;
        return true;
    }
    return false;
}

const char *wa_bucket_name(wa_bucket bucket)
{
    static const char *const names[WA_BUCKET_COUNT] = {
        [WA_BUCKET_EXACT] = "exact",
        [WA_BUCKET_QUANTIZED] = "quantized",
        [WA_BUCKET_FP4] = "fp4",
        [WA_BUCKET_APPROXIMATE] = "approximate",
    };
    return names[bucket];
}
