/* Words of a verb: its own table of options, and what every verb knows beside it. */
#include "cli/cli.h"

static error_t parse_common(int key, char *arg, struct argp_state *state)
{
    (void)arg;
    if (key != 'h')
        return ARGP_ERR_UNKNOWN;
    argp_state_help(state, stdout, ARGP_HELP_STD_HELP);
    return 0;
}

void wa_cli_parse(const struct argp *parser, int argc, char **argv, void *words)
{
    static const struct argp_option options[] = {{.key = 'h', .flags = OPTION_HIDDEN}, {0}};
    static const struct argp common = {.options = options, .parser = parse_common};
    /* Without a parser of its own, argp hands the input to the first child. */
    const struct argp_child children[] = {{.argp = parser}, {.argp = &common}, {0}};
    const struct argp whole = {.children = children};
    argp_parse(&whole, argc, argv, 0, NULL, words);
}
