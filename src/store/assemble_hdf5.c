/* The collective part of assembly: all ranks read measured fields from the parts, rank 0 writes
 * them in whole chunks. */
#include "store/assemble.h"
#include "store/part.h"
#include "store/parts.h"
#include "store/types_hdf5.h"

#include "base/bytes.h"

#include <assert.h>
#include <hdf5.h>
#include <string.h>
#include <unistd.h>

/* Datasets with the same axes are copied together, so that a part is opened once per box and not
 * once per field. */
enum { GROUP_MAX = 16 };
typedef struct group {
    const char *axes;
    const wa_layout *row[GROUP_MAX];
    hid_t dataset[GROUP_MAX];
    size_t offset[GROUP_MAX]; /* of its box in the copier's message */
    size_t bytes;             /* of the message: a box of each, and the head */
    size_t count;
    size_t shape[WA_LAYOUT_RANK], unit[WA_LAYOUT_RANK], rank;
    size_t stream; /* which axis runs over the parts */
} group;

typedef struct copier {
    wa_comm *comm;
    const char *result_path;
    const wa_part_list *list;
    const wa_assembly_caller *caller; /* NULL but on rank 0 */
    wa_extents extents;
    hid_t file; /* rank 0's */
    /* a unit as it travels: the reader's status, then a box of each row of the group */
    uint8_t *message;
    wa_arena *arena;
} copier;
enum { HEAD_BYTES = 8 };

static bool is_copied(const wa_layout *row)
{
    return row->origin == WA_ORIGIN_MEASURED && wa_layout_is_stream(row);
}

/* --- Reading a box from the parts --- */

/* First element and length of a part along the group's stream axis. */
static void part_range(const group *g, const wa_batch *part, size_t *first, size_t *count)
{
    bool by_obs = g->axes[g->stream] != 'P';
    *first = by_obs ? part->first_obs : part->first_prompt;
    *count = by_obs ? part->rows : part->prompt_count;
}

/* The overlap of a box and a part, in the part's and in the buffer's own coordinates. */
typedef struct overlap {
    hsize_t from[WA_LAYOUT_RANK], to[WA_LAYOUT_RANK], count[WA_LAYOUT_RANK], buffer[WA_LAYOUT_RANK];
} overlap;

static bool find_overlap(const group *g, const wa_box *box, const wa_batch *part, overlap *out)
{
    size_t first, length, s = g->stream;
    part_range(g, part, &first, &length);
    size_t low = box->start[s] > first ? box->start[s] : first;
    size_t box_end = box->start[s] + box->count[s], part_end = first + length;
    size_t high = box_end < part_end ? box_end : part_end;
    if (low >= high)
        return false;
    assert(s < g->rank);
    for (size_t d = 0; d < g->rank; d++) {
        out->from[d] = box->start[d];
        out->to[d] = 0;
        out->count[d] = box->count[d];
        out->buffer[d] = box->count[d];
    }
    out->from[s] = low - first;
    out->to[s] = low - box->start[s];
    out->count[s] = high - low;
    return true;
}

static wa_status read_overlap(wa_hid dataset, const wa_layout *row, const group *g,
                              const overlap *o, void *buffer, wa_error *err)
{
    wa_ids ids = {.count = 0};
    wa_status status = WA_OK;
    hid_t file = wa_ids_keep(&ids, H5Dget_space(dataset));
    hid_t memory = wa_ids_keep(&ids, H5Screate_simple((int)g->rank, o->buffer, NULL));
    if (file < 0 || memory < 0 ||
        H5Sselect_hyperslab(file, H5S_SELECT_SET, o->from, NULL, o->count, NULL) < 0 ||
        H5Sselect_hyperslab(memory, H5S_SELECT_SET, o->to, NULL, o->count, NULL) < 0 ||
        H5Dread(dataset, wa_memory_type(row->type), memory, file, H5P_DEFAULT, buffer) < 0)
        status = wa_hdf5_failed(err, WA_E_FORMAT, "cannot read dataset", row->name);
    return wa_ids_close(&ids, status, err);
}

static wa_status read_from_part(const copier *c, const group *g, const wa_batch *range,
                                const overlap *o, wa_error *err)
{
    char path[WA_NAME_BYTES];
    wa_hid part;
    wa_extents x = {.dims = wa_part_dims(&c->list->dims, range)};
    WA_TRY(wa_part_name(c->result_path, range, path, err));
    WA_TRY(wa_part_open(path, c->list->mark.job, range, &c->list->dims, &part, err));
    wa_status status = WA_OK;
    for (size_t i = 0; status == WA_OK && i < g->count; i++) {
        wa_hid dataset = -1;
        status = wa_dataset_open(part, g->row[i], &x, &dataset, err);
        if (status == WA_OK)
            status = read_overlap(dataset, g->row[i], g, o, c->message + g->offset[i], err);
        status = wa_dataset_close(dataset, status, err);
    }
    if (status != WA_OK)
        wa_note(err, "in file '%s'", path);
    return wa_hdf5_close(part, status, err);
}

static wa_status read_box(const copier *c, const group *g, const wa_box *box, wa_error *err)
{
    for (size_t i = 0; i < c->list->count; i++) {
        overlap o;
        if (find_overlap(g, box, &c->list->parts[i], &o))
            WA_TRY(read_from_part(c, g, &c->list->parts[i], &o, err));
    }
    return WA_OK;
}

/* --- Units: whole chunks, dealt over the ranks --- */

static size_t unit_count(const group *g)
{
    size_t units = 1;
    for (size_t d = 0; d < g->rank; d++)
        units *= (g->shape[d] + g->unit[d] - 1) / g->unit[d];
    return units;
}

static void unit_box(const group *g, size_t unit, wa_box *out)
{
    for (size_t d = g->rank; d-- > 0;) {
        size_t along = (g->shape[d] + g->unit[d] - 1) / g->unit[d];
        out->start[d] = unit % along * g->unit[d];
        size_t left = g->shape[d] - out->start[d];
        out->count[d] = left < g->unit[d] ? left : g->unit[d];
        unit /= along;
    }
}

static wa_status finish_message(wa_comm *comm, wa_ticket *ticket, wa_error *err)
{
    while (!wa_comm_is_done(comm, ticket))
        WA_TRY(wa_comm_poll(comm, err));
    return WA_OK;
}

/* This rank reads a unit into its message. What fails is remembered and told in the head, so that
 * rank 0 waits for no one. */
static void fill_message(const copier *c, const group *g, size_t unit, wa_status *status,
                         wa_error *err)
{
    wa_box box;
    unit_box(g, unit, &box);
    if (*status == WA_OK)
        *status = read_box(c, g, &box, err);
    memset(c->message, 0, HEAD_BYTES);
    c->message[0] = *status == WA_OK ? 0 : 1;
}

static wa_status write_message(const copier *c, const group *g, size_t unit, wa_error *err)
{
    wa_box box;
    unit_box(g, unit, &box);
    for (size_t i = 0; i < g->count; i++)
        WA_TRY(wa_dataset_write(g->dataset[i], g->row[i], &box, c->message + g->offset[i], err));
    return WA_OK;
}

/* Rank 0: take a unit's message from the rank that has it, and write it. A reader's failure is
 * agreed upon at the end. */
static wa_status take_unit(const copier *c, const group *g, size_t unit, int rank,
                           wa_status *status, wa_error *err)
{
    if (rank == 0) {
        fill_message(c, g, unit, status, err);
    } else {
        wa_ticket ticket;
        wa_error lost;
        if (wa_comm_receive(c->comm, rank, WA_TAG_BOX, c->message, g->bytes, &ticket, &lost) !=
                WA_OK ||
            finish_message(c->comm, &ticket, &lost) != WA_OK) {
            *err = lost;
            return lost.status;
        }
    }
    if (*status == WA_OK && c->message[0] == 0)
        *status = write_message(c, g, unit, err);
    return WA_OK;
}

/*
 * Unit u belongs to rank u modulo ranks. Every rank sends each of its units, whatever happened to
 * it, and rank 0 takes them all: no failure leaves another rank waiting. Returns a failure of
 * messages; *status is that of reading and writing.
 */
static wa_status copy_units(const copier *c, const group *g, wa_status *status, wa_error *err)
{
    size_t units = unit_count(g), ranks = (size_t)wa_comm_size(c->comm),
           me = (size_t)wa_comm_rank(c->comm);
    for (size_t u = me == 0 ? 0 : me; u < units; u += me == 0 ? 1 : ranks) {
        if (me == 0) {
            c->caller->beat(c->caller->context);
            WA_TRY(take_unit(c, g, u, (int)(u % ranks), status, err));
            continue;
        }
        wa_ticket ticket;
        fill_message(c, g, u, status, err);
        wa_error lost;
        if (wa_comm_send(c->comm, 0, WA_TAG_BOX, c->message, g->bytes, &ticket, &lost) != WA_OK ||
            finish_message(c->comm, &ticket, &lost) != WA_OK) {
            *err = lost;
            return lost.status;
        }
    }
    return WA_OK;
}

/* --- Groups --- */

static bool is_empty(const group *g)
{
    for (size_t d = 0; d < g->rank; d++)
        if (g->shape[d] == 0)
            return true;
    return g->count == 0;
}

/* The rows with these axes. */
static void collect(const copier *c, const char *axes, group *out)
{
    group g = {.axes = axes, .bytes = HEAD_BYTES};
    for (size_t i = 0; i < wa_layout_count(); i++) {
        const wa_layout *row = wa_layout_at(i);
        if (is_copied(row) && wa_layout_exists(row, &c->extents) && strcmp(row->axes, axes) == 0) {
            assert(g.count < GROUP_MAX);
            g.dataset[g.count] = -1;
            g.row[g.count++] = row;
        }
    }
    g.stream = strcspn(axes, "OATP");
    if (g.count > 0) {
        g.rank = wa_layout_shape(g.row[0], &c->extents, g.shape);
        wa_layout_box(g.row[0], g.shape, g.unit);
    }
    *out = g;
}

/* Room for a message, and on rank 0 the datasets of the result. */
static wa_status open_group(copier *c, group *g, wa_error *err)
{
    size_t elements = 1;
    for (size_t d = 0; d < g->rank; d++)
        elements *= g->unit[d];
    for (size_t i = 0; i < g->count; i++) {
        size_t box = elements * wa_layout_size(g->row[i]);
        g->offset[i] = g->bytes;
        g->bytes += (box + HEAD_BYTES - 1) / HEAD_BYTES * HEAD_BYTES;
        if (wa_comm_rank(c->comm) == 0)
            WA_TRY(wa_dataset_open(c->file, g->row[i], &c->extents, &g->dataset[i], err));
    }
    return wa_arena_take(c->arena, g->bytes, 1, &c->message, err);
}

/* Collective. */
static wa_status copy_group(copier *c, const char *axes, wa_error *err)
{
    group g;
    collect(c, axes, &g);
    if (is_empty(&g))
        return WA_OK;
    wa_mark mark = wa_arena_mark(c->arena);
    wa_status status = wa_comm_agree(c->comm, open_group(c, &g, err), err);
    wa_status messages = WA_OK;
    if (status == WA_OK)
        messages = copy_units(c, &g, &status, err);
    for (size_t i = 0; i < g.count; i++)
        status = wa_dataset_close(g.dataset[i], status, err);
    wa_arena_release(c->arena, mark);
    return wa_comm_agree(c->comm, messages == WA_OK ? status : messages, err);
}

/* Is this the first row with its axes? */
static bool is_first_of_axes(size_t row)
{
    for (size_t i = 0; i < row; i++)
        if (is_copied(wa_layout_at(i)) &&
            strcmp(wa_layout_at(i)->axes, wa_layout_at(row)->axes) == 0)
            return false;
    return is_copied(wa_layout_at(row));
}

/* Collective. Group after group, in the order of the table. */
static wa_status copy_all(copier *c, wa_error *err)
{
    for (size_t i = 0; i < wa_layout_count(); i++)
        if (is_first_of_axes(i))
            WA_TRY(copy_group(c, wa_layout_at(i)->axes, err));
    return WA_OK;
}

/* Collective. */
static wa_status copy_fields(wa_comm *comm, const char *temporary, const char *result_path,
                             const wa_part_list *list, const wa_assembly_caller *caller,
                             wa_error *err)
{
    copier c = {.comm = comm,
                .result_path = result_path,
                .list = list,
                .caller = caller,
                .extents = {.dims = list->dims}, /* all that the axes of parts need */
                .file = -1};
    WA_TRY(wa_comm_agree(comm, wa_arena_open("copy", 0, &c.arena, err), err));
    wa_status status = WA_OK;
    if (wa_comm_rank(comm) == 0)
        status = wa_hdf5_open(temporary, true, &c.file, err);
    status = wa_comm_agree(comm, status, err);
    if (status == WA_OK)
        status = copy_all(&c, err);
    status = wa_hdf5_close(c.file, status, err);
    wa_arena_close(c.arena);
    return wa_comm_agree(comm, status, err);
}

/* --- The parts --- */

static wa_status check_part(const char *result_path, const wa_part_list *list, size_t which,
                            wa_error *err)
{
    char path[WA_NAME_BYTES];
    WA_TRY(wa_part_name(result_path, &list->parts[which], path, err));
    if (!wa_file_exists(path))
        return wa_fail(err, WA_E_IO, "cannot assemble: part %zu of %zu is not there, '%s'", which,
                       list->count, path);
    return wa_part_check_bytes(path, err);
}

/* Collective. Every part is there, and its bytes are those that its writer sealed: part i is looked
 * at by rank i modulo ranks. */
static wa_status check_parts(wa_comm *comm, const char *result_path, const wa_part_list *list,
                             const wa_assembly_caller *caller, wa_error *err)
{
    wa_status status = WA_OK;
    size_t ranks = (size_t)wa_comm_size(comm);
    for (size_t i = (size_t)wa_comm_rank(comm); status == WA_OK && i < list->count; i += ranks) {
        status = check_part(result_path, list, i, err);
        if (wa_comm_rank(comm) == 0)
            caller->beat(caller->context);
    }
    return wa_comm_agree(comm, status, err);
}

/* --- Rank 0 --- */

/* The temporary lies among the parts, where the next owner removes it when this run is killed. */
static wa_status begin(const char *result_path, const wa_result_meta *meta,
                       const wa_assembly_caller *caller, char temporary[WA_NAME_BYTES],
                       wa_arena *arena, wa_error *err)
{
    char directory[WA_NAME_BYTES], name[WA_NAME_BYTES];
    size_t streams, others;
    wa_extents x = wa_assembly_extents(meta);
    WA_TRY(wa_parts_directory(result_path, directory, err));
    if (!wa_layout_room(&x, NULL, true, &streams) ||
        !wa_layout_room(&x, caller->figures, false, &others) ||
        !wa_size_add(streams, others, &others))
        return wa_fail(err, WA_E_UNSUPPORTED, "the result's size overflows");
    WA_TRY(wa_space_check(directory, others, err));
    WA_TRY(wa_parts_join(directory, "result.h5", name, err));
    WA_TRY(wa_temporary_name(name, temporary, err));
    wa_mark mark = wa_arena_mark(arena);
    wa_status status = wa_assembly_begin(temporary, meta, arena, err);
    wa_arena_release(arena, mark);
    return status == WA_OK ? wa_space_reserve(temporary, streams, err) : status;
}

static wa_status finish(const char *result_path, const char *temporary, const wa_part_list *list,
                        const wa_result_meta *meta, const wa_assembly_caller *caller,
                        wa_arena *arena, wa_error *err)
{
    size_t others;
    wa_extents x = wa_assembly_extents(meta);
    if (!wa_layout_room(&x, caller->figures, false, &others))
        return wa_fail(err, WA_E_UNSUPPORTED, "the result's size overflows");
    WA_TRY(wa_space_reserve(temporary, others, err));
    WA_TRY(wa_assembly_finish(temporary, result_path, list, meta, caller, arena, err));
    return caller->publish(caller->context, temporary, err);
}

static wa_status assemble(wa_comm *comm, const char *result_path, const wa_part_list *list,
                          const wa_result_meta *meta, const wa_assembly_caller *caller,
                          char temporary[WA_NAME_BYTES], wa_arena *arena, wa_error *err)
{
    bool root = wa_comm_rank(comm) == 0;
    WA_TRY(check_parts(comm, result_path, list, caller, err));
    wa_status status = root ? begin(result_path, meta, caller, temporary, arena, err) : WA_OK;
    WA_TRY(wa_comm_agree(comm, status, err));
    WA_TRY(wa_comm_broadcast(comm, temporary, WA_NAME_BYTES, err));
    WA_TRY(copy_fields(comm, temporary, result_path, list, caller, err));
    status = root ? finish(result_path, temporary, list, meta, caller, arena, err) : WA_OK;
    return wa_comm_agree(comm, status, err);
}

wa_status wa_assemble(wa_comm *comm, const char *result_path, const wa_part_list *list,
                      const wa_result_meta *meta, const wa_assembly_caller *caller, wa_arena *arena,
                      wa_error *err)
{
    wa_hdf5_quiet();
    char temporary[WA_NAME_BYTES] = "";
    wa_status status = assemble(comm, result_path, list, meta, caller, temporary, arena, err);
    if (status != WA_OK && wa_comm_rank(comm) == 0 && temporary[0] != '\0')
        unlink(temporary);
    return status;
}
