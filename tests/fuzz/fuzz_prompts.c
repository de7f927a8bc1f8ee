/* Prompts as JSON lines. */
#include "fuzz_numbers.h"
#include "job/job.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char path[FUZZ_PATH];
    wa_error err = {0};
    wa_prompt *prompts;
    size_t count;
    wa_arena *arena = fuzz_arena();
    fuzz_write("prompts.jsonl", data, size);
    wa_job job = {.prompts_file = fuzz_path(path, "prompts.jsonl")};
    if (fuzz_answer(wa_prompts_open(&job, arena, &prompts, &count, &err), &err))
        for (size_t i = 0; i < count; i++) {
            fuzz_require(prompts[i].key != NULL, "a prompt without key");
            fuzz_require((prompts[i].text == NULL) != (prompts[i].ids == NULL), "text or ids");
            fuzz_touch((wa_bytes){.data = (const uint8_t *)prompts[i].ids,
                                  .size = prompts[i].id_count * sizeof *prompts[i].ids});
        }
    wa_arena_close(arena);
    return 0;
}
