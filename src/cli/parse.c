/* Words of a verb: its own table of options, and what every verb knows beside it. */
#include "cli/cli.h"

/* What the parsers of both tables fill in. */
typedef struct inputs {
    void *words;
    bool quiet;
} inputs;

static error_t parse_common(int key, char *arg, struct argp_state *state)
{
    bool *quiet = state->input;
    (void)arg;
    switch (key) {
    case 'h':
        argp_state_help(state, stdout, ARGP_HELP_STD_HELP);
        return 0;
    case 'q':
        *quiet = true;
        return 0;
    default:
        return ARGP_ERR_UNKNOWN;
    }
}

static error_t give_inputs(int key, char *arg, struct argp_state *state)
{
    inputs *both = state->input;
    (void)arg;
    if (key != ARGP_KEY_INIT)
        return ARGP_ERR_UNKNOWN;
    state->child_inputs[0] = both->words;
    state->child_inputs[1] = &both->quiet;
    return 0;
}

static const struct argp_option OPTIONS[] = {
    {.name = "quiet",
     .key = 'q',
     .doc = "print errors and what was asked for: no progress, notes or warnings"},
    {.key = 'h', .flags = OPTION_HIDDEN},
    {0}};

const struct argp wa_cli_common_parser = {.options = OPTIONS, .parser = parse_common};

bool wa_cli_parse(const struct argp *parser, int argc, char **argv, void *words)
{
    inputs both = {.words = words};
    const struct argp_child children[] = {{.argp = parser}, {.argp = &wa_cli_common_parser}, {0}};
    const struct argp whole = {.parser = give_inputs, .children = children};
    argp_parse(&whole, argc, argv, 0, NULL, &both);
    return both.quiet;
}
