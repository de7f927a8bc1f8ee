/* --audit, --array-index, --set and --out, the same for every verb that takes a job. */
#include "cli/selection.h"

#include <stdio.h>

enum { KEY_AUDIT = 512, KEY_ARRAY };

/* "I" or "I/N": audit I, from 0; or task I of N, which has audits I, I + N, … */
static void parse_array(const char *word, wa_selection *out, struct argp_state *state)
{
    char rest = '\0';
    int fields = sscanf(word, "%9d/%9d%c", &out->index, &out->count, &rest);
    bool alone = fields == 1 && sscanf(word, "%9d%c", &out->index, &rest) == 1;
    bool of_many = fields == 2 && out->count > out->index;
    if ((!alone && !of_many) || out->index < 0)
        argp_error(state, "--array-index '%s', expected I, or I/N with I from 0 to N - 1", word);
    if (alone)
        out->count = 0;
    out->by_index = true;
}

static error_t parse_option(int key, char *arg, struct argp_state *state)
{
    wa_cli_selection *selection = state->input;
    switch (key) {
    case KEY_AUDIT:
        if (selection->chosen.audit_count == WA_CLI_AUDITS_MAX)
            argp_error(state, "more than %d --audit", WA_CLI_AUDITS_MAX);
        selection->names[selection->chosen.audit_count++] = arg;
        selection->chosen.audits = selection->names;
        return 0;
    case KEY_ARRAY:
        parse_array(arg, &selection->chosen, state);
        return 0;
    default:
        return ARGP_ERR_UNKNOWN;
    }
}

static const struct argp_option OPTIONS[] = {
    {.name = "audit",
     .key = KEY_AUDIT,
     .arg = "NAME",
     .doc = "only this audit of the job (may be repeated)"},
    {.name = "array-index",
     .key = KEY_ARRAY,
     .arg = "I[/N]",
     .doc = "only audit I of the job, counted from 0; with /N "
            "audits I, I+N, I+2N, …: task I of a Slurm array of N"},
    {0}};

const struct argp wa_cli_selection_parser = {.options = OPTIONS, .parser = parse_option};

static error_t parse_setting(int key, char *arg, struct argp_state *state)
{
    wa_cli_settings *settings = state->input;
    if (key != 's')
        return ARGP_ERR_UNKNOWN;
    if (settings->count == WA_CLI_SETTINGS_MAX)
        argp_error(state, "more than %d --set", WA_CLI_SETTINGS_MAX);
    settings->words[settings->count++] = arg;
    return 0;
}

static const struct argp_option SETTING[] = {
    {.name = "set",
     .key = 's',
     .arg = "KEY=VALUE",
     .doc = "set a scalar key of the job, e.g. batch.rows=8; may be repeated"},
    {0}};

const struct argp wa_cli_settings_parser = {.options = SETTING, .parser = parse_setting};

wa_status wa_cli_check_out(const char *out_file, const wa_job *job, wa_error *err)
{
    if (out_file == NULL || job->audit_count == 1)
        return WA_OK;
    return wa_fail(err, WA_E_USAGE, "--out names one file; the job has %zu audits",
                   job->audit_count);
}
