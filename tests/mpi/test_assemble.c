/*
 * Usage: mpirun -n N test_assemble RESULT.h5 [PART]. Writes made-up parts from all ranks and
 * assembles them. With PART, that one is damaged in between: every rank must then come back with
 * the same failure.
 */
#include "comm/comm.h"
#include "judge/judgement.h"
#include "store/parts.h"
#include "store_fake.h"

#include <stdlib.h>

/* Longer than one chunk along obs (8192) and layer (16); a part ends inside a chunk and a
 * chunk inside a part. */
static const fake_shape SHAPE = {.layers = 18,
                                 .prompt_rows = {2000, 1000, 3000, 7, 2500, 300, 1},
                                 .prompts = 7,
                                 .part_prompts = {2, 2, 1, 2},
                                 .parts = 4};

static wa_status token_text(void *context, int32_t id, wa_arena *arena, char **out, wa_error *err)
{
    (void)context;
    return wa_arena_print(arena, out, err, "<%d>", id);
}

/* What the assembly calls back with. */
typedef struct caller_state {
    size_t beats;
    wa_arena *arena;
    wa_parts *parts; /* rank 0's */
} caller_state;

static void beat(void *context)
{
    ((caller_state *)context)->beats++;
}

static wa_status judge(void *context, wa_result *result, wa_error *err)
{
    wa_arena *arena = ((caller_state *)context)->arena;
    wa_bounds *bounds;
    wa_judgement *judgement;
    WA_TRY(wa_bounds_open("default", arena, &bounds, err));
    WA_TRY(wa_judge(result, bounds, arena, &judgement, err));
    return wa_judgement_store(judgement, result, arena, err);
}

static wa_status publish(void *context, const char *temporary, wa_error *err)
{
    return wa_parts_publish(((caller_state *)context)->parts, temporary, err);
}

static wa_status write_parts(wa_comm *comm, const char *path, const wa_part_list *list,
                             wa_arena *arena, wa_error *err)
{
    size_t ranks = (size_t)wa_comm_size(comm), me = (size_t)wa_comm_rank(comm);
    for (size_t b = me; b < list->count; b += ranks) {
        wa_block block;
        wa_mark mark = wa_arena_mark(arena);
        WA_TRY(fake_block(&list->dims, &list->parts[b], arena, &block, err));
        WA_TRY(wa_part_write(path, &list->parts[b], &list->mark, &block, b == 0, err));
        wa_arena_release(arena, mark);
    }
    return WA_OK;
}

/* Eight bytes in the middle of a part, where its largest fields lie. */
static wa_status damage(const char *result_path, const wa_batch *part, wa_error *err)
{
    char path[WA_NAME_BYTES];
    WA_TRY(wa_part_name(result_path, part, path, err));
    FILE *file = fopen(path, "r+b");
    if (file == NULL)
        return wa_fail(err, WA_E_IO, "cannot open '%s'", path);
    bool done = fseek(file, 0, SEEK_END) == 0 && fseek(file, ftell(file) / 2, SEEK_SET) == 0 &&
                fwrite("damaged!", 8, 1, file) == 1;
    return fclose(file) == 0 && done ? WA_OK : wa_fail(err, WA_E_IO, "cannot damage '%s'", path);
}

static wa_status run(wa_comm *comm, const char *path, const char *damaged, wa_arena *arena,
                     wa_error *err)
{
    bool root = wa_comm_rank(comm) == 0;
    wa_result_meta meta;
    wa_part_list list;
    wa_parts *parts = NULL;
    caller_state state = {.arena = arena};
    wa_assembly_caller caller = {.text = token_text,
                                 .beat = beat,
                                 .judge = judge,
                                 .figures = wa_figure_row,
                                 .publish = publish,
                                 .context = &state};
    WA_TRY(fake_meta(&SHAPE, arena, &meta, err));
    WA_TRY(fake_list(&SHAPE, &meta.dims, arena, &list, err));
    wa_status status = root ? wa_parts_open(path, &meta, false, arena, &parts, err) : WA_OK;
    WA_TRY(wa_comm_agree(comm, status, err));
    state.parts = parts;
    if (root)
        list.mark = wa_parts_get_mark(parts);
    WA_TRY(wa_comm_broadcast(comm, &list.mark, sizeof list.mark, err));
    if (root)
        status = wa_parts_write_run(
            parts, "{\"argv\": [\"a\", \"b\"], \"ranks\": 2, \"x\": 0.5, \"n\": {\"k\": 1}}", err);
    WA_TRY(wa_comm_agree(comm, status, err));
    status = write_parts(comm, path, &list, arena, err);
    WA_TRY(wa_comm_agree(comm, status, err));
    if (root && damaged != NULL)
        status = damage(path, &list.parts[strtol(damaged, NULL, 10)], err);
    WA_TRY(wa_comm_agree(comm, status, err));
    WA_TRY(wa_assemble(comm, path, &list, &meta, &caller, arena, err));
    if (state.beats < (root ? list.count : 0) || (!root && state.beats > 0))
        return wa_fail(err, WA_E_INTERNAL, "%zu beats on rank %d", state.beats, wa_comm_rank(comm));
    wa_parts_close(parts, true);
    return WA_OK;
}

int main(int argc, char **argv)
{
    wa_comm *comm;
    wa_arena *arena = NULL;
    wa_error err = {.status = WA_OK};
    if (wa_comm_open(&argc, &argv, &comm, &err) != WA_OK)
        return 4;
    wa_status status = argc >= 2 ? wa_arena_open("test", 0, &arena, &err)
                                 : wa_fail(&err, WA_E_USAGE, "no result path");
    if (status == WA_OK)
        status = run(comm, argv[1], argc > 2 ? argv[2] : NULL, arena, &err);
    if (status != WA_OK && wa_comm_rank(comm) == 0)
        fprintf(stderr, "test_assemble: %s\n", err.text);
    wa_arena_close(arena);
    wa_comm_close(comm);
    return status == WA_OK ? 0 : 1;
}
