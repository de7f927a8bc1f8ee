/* Documents of the command line: roff for man, functions for bash and zsh. */
#include "cli/manual.h"

#include "job/job.h"

#include <string.h>

typedef struct table {
    const wa_cli_verb *verbs;
    size_t count;
    FILE *out;
} table;

/* --- Text of roff ----------------------------------------------------------------------------- */

/* Of roff's characters only these mean something inside a line; a dot or quote at its start is
 * guarded by \&. */
static void print_roff(FILE *out, const char *text, size_t length)
{
    for (size_t i = 0; i < length; i++) {
        bool starts = i == 0 || text[i - 1] == '\n';
        if (starts && (text[i] == '.' || text[i] == '\''))
            fputs("\\&", out);
        if (text[i] == '\\')
            fputs("\\e", out);
        else if (text[i] == '-')
            fputs("\\-", out);
        else if (text[i] != '`')
            fputc(text[i], out);
    }
}

static void print_line(FILE *out, const char *macro, const char *text)
{
    fprintf(out, "%s%s", macro, macro[0] == '\0' ? "" : " ");
    print_roff(out, text, strlen(text));
    fputc('\n', out);
}

/* Paragraphs of argp's text: before \v and after. */
static void print_doc(FILE *out, const char *doc)
{
    while (doc != NULL && *doc != '\0') {
        size_t length = strcspn(doc, "\v");
        fputs(".PP\n", out);
        print_roff(out, doc, length);
        fputc('\n', out);
        doc += length + (doc[length] == '\0' ? 0 : 1);
    }
}

static bool is_short(const struct argp_option *option)
{
    return option->key > ' ' && option->key < 127;
}

/* Call `each` for every option of a parser and its children that help shows. */
typedef void each_option(const struct argp_option *option, FILE *out);

static void walk_options(const struct argp *parser, each_option *each, FILE *out)
{
    for (const struct argp_option *o = parser->options;
         o != NULL && (o->name != NULL || o->key != 0); o++)
        if ((o->flags & OPTION_HIDDEN) == 0)
            each(o, out);
    for (const struct argp_child *child = parser->children; child != NULL && child->argp != NULL;
         child++)
        walk_options(child->argp, each, out);
}

/* The same of a verb: its own, and those that every verb has. */
static void walk_verb(const wa_cli_verb *verb, each_option *each, FILE *out)
{
    walk_options(verb->parser, each, out);
    walk_options(&wa_cli_common_parser, each, out);
}

static void print_option(const struct argp_option *option, FILE *out)
{
    fputs(".TP\n", out);
    if (is_short(option))
        fprintf(out, "\\fB\\-%c\\fR%s", option->key, option->name == NULL ? "" : ", ");
    if (option->name != NULL) {
        fputs("\\fB\\-\\-", out);
        print_roff(out, option->name, strlen(option->name));
        fputs("\\fR", out);
    }
    if (option->arg != NULL) {
        fputs("=\\fI", out);
        print_roff(out, option->arg, strlen(option->arg));
        fputs("\\fR", out);
    }
    fputc('\n', out);
    print_line(out, "", option->doc);
}

/* --- Manual pages ----------------------------------------------------------------------------- */

static void print_verb(const wa_cli_verb *verb, FILE *out)
{
    fprintf(out, ".SS walkaudit %s ", verb->name);
    print_roff(out, verb->arguments, strlen(verb->arguments));
    fputc('\n', out);
    if (verb->parser == NULL) {
        print_line(out, "", verb->does);
        print_line(out, "", "(a verb of walkaudit-report)");
        return;
    }
    print_doc(out, verb->parser->doc);
    walk_verb(verb, print_option, out);
}

static void print_exit_codes(FILE *out)
{
    static const struct {
        const char *name, *meaning;
        int code;
    } rows[] = {
/* clang-format off */
#define ROW(id, exit_code, text) {#id, text, exit_code},
        /* clang-format on */
        WA_STATUS_LIST(ROW)
#undef ROW
    };
    fputs(".SH EXIT STATUS\n", out);
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        if (i == 0 || rows[i].code != rows[i - 1].code)
            fprintf(out, ".TP\n%d\n", rows[i].code);
        else
            fputs("; ", out);
        print_roff(out, rows[i].meaning, strlen(rows[i].meaning));
        fputc('\n', out);
    }
}

static const struct {
    const char *name, *meaning;
} VARIABLES[] = {
    {"NO_COLOR", "Any value but an empty one: verdicts without colour."},
    {"TMPDIR", "Where selftest's copies and marks of run -n lie, instead of /tmp."},
    {"WALKAUDIT_MPIEXEC", "What run -n starts ranks with, instead of the launcher of the MPI that "
                          "walkaudit was built with."},
    {"WALKAUDIT_REPORT",
     "The program walkaudit-report, where it is neither beside walkaudit nor in PATH."},
};

static void print_head(FILE *out, const char *page, const char *does)
{
    fprintf(out, ".TH %s \"\" \"walkaudit %s\" \"walkaudit\"\n.SH NAME\n", page, WALKAUDIT_VERSION);
    print_line(out, "", does);
}

static void print_manual(const table *t)
{
    FILE *out = t->out;
    print_head(
        out, "WALKAUDIT 1",
        "walkaudit - audits fast ways of running a language model's FFN against the dense model");
    fputs(".SH SYNOPSIS\n.B walkaudit\n.I VERB\n[\\fIOPTION\\fR...] [\\fIARGUMENT\\fR...]\n.br\n.B "
          "walkaudit help\n.I VERB\n"
          ".SH DESCRIPTION\n",
          out);
    print_line(out, "",
               "Tells, for a language model and any vindex of it, whether each FFN walk path "
               "computes what the dense weights compute, at "
               "every layer and every position, and whether the model still says the same. A "
               "vindex is LARQL's directory of FFN "
               "weights; a walk path is one way of evaluating an FFN from it.");
    fputs(".SH VERBS\n", out);
    for (size_t i = 0; i < t->count; i++)
        print_verb(&t->verbs[i], out);
    print_exit_codes(out);
    fputs(".SH ENVIRONMENT\n", out);
    for (size_t i = 0; i < sizeof VARIABLES / sizeof VARIABLES[0]; i++) {
        fputs(".TP\n", out);
        print_line(out, ".B", VARIABLES[i].name);
        print_line(out, "", VARIABLES[i].meaning);
    }
    fputs(".SH SEE ALSO\n.BR walkaudit\\-report (1),\n.BR walkaudit\\-job (5)\n", out);
}

static void print_job_manual(const table *t)
{
    size_t count;
    FILE *out = t->out;
    const wa_job_key *keys = wa_job_keys(&count);
    print_head(out, "WALKAUDIT-JOB 5", "walkaudit-job - job file of walkaudit");
    fputs(".SH DESCRIPTION\n", out);
    print_line(out, "",
               "A job is a YAML file that names models, vindexes and prompts; `walkaudit init` "
               "writes one. Paths in it are relative to the "
               "file. Every key but audits may be left out. An unknown key is an error.");
    fputs(".SH EXAMPLE\n.nf\naudits:\n  \\- model: models/smollm2.gguf\n    vindexes:\n      \\- "
          "path: vindexes/smollm2\\-q4k.vindex\n.fi\n.SH KEYS\n",
          out);
    for (size_t i = 0; i < count; i++) {
        fputs(".TP\n\\fB", out);
        print_roff(out, keys[i].name, strlen(keys[i].name));
        fputs("\\fR (", out);
        print_roff(out, keys[i].type, strlen(keys[i].type));
        if (keys[i].fallback[0] != '\0') {
            fputs("; without it: ", out);
            print_roff(out, keys[i].fallback, strlen(keys[i].fallback));
        }
        fputs(")\n", out);
        print_line(out, "", keys[i].meaning);
    }
    fputs(".SH SEE ALSO\n.BR walkaudit (1)\n", out);
}

/* --- Completion ------------------------------------------------------------------------------- */

static void print_words(const struct argp_option *option, FILE *out)
{
    if (option->name != NULL)
        fprintf(out, " --%s", option->name);
    if (is_short(option))
        fprintf(out, " -%c", option->key);
}

static void print_verb_names(const table *t)
{
    for (size_t i = 0; i < t->count; i++)
        fprintf(t->out, "%s ", t->verbs[i].name);
}

static void print_bash(const table *t)
{
    FILE *out = t->out;
    fputs("# bash completion of walkaudit: words of the command line; files where a file may "
          "stand.\n_walkaudit()\n{\n"
          "    local word=${COMP_WORDS[COMP_CWORD]} words\n    COMPREPLY=()\n    if [ "
          "\"$COMP_CWORD\" -eq 1 ]; then\n        words=\"",
          out);
    print_verb_names(t);
    fputs("help --help --version\"\n    else\n        case ${COMP_WORDS[1]} in\n        help) "
          "words=\"",
          out);
    print_verb_names(t);
    fputs("\" ;;\n", out);
    for (size_t i = 0; i < t->count; i++) {
        if (t->verbs[i].parser == NULL)
            continue;
        fprintf(out, "        %s) words=\"--help", t->verbs[i].name);
        walk_verb(&t->verbs[i], print_words, out);
        fputs("\" ;;\n", out);
    }
    fputs("        esac\n        case $word in\n        -*) ;;\n        *) [ \"${COMP_WORDS[1]}\" "
          "= help ] || words= ;;\n        esac\n    fi\n"
          "    [ -z \"$words\" ] || COMPREPLY=($(compgen -W \"$words\" -- \"$word\"))\n}\n"
          "complete -o default -F _walkaudit walkaudit\n",
          out);
}

/* Inside single quotes, and between brackets of _arguments. */
static void print_zsh_text(FILE *out, const char *text)
{
    for (; *text != '\0'; text++)
        if (*text == '\'')
            fputs("'\\''", out);
        else if (strchr("[]:\\", *text) != NULL)
            fprintf(out, "\\%c", *text);
        else
            fputc(*text, out);
}

static void print_zsh_option(const struct argp_option *option, FILE *out)
{
    if (option->name == NULL)
        return;
    fprintf(out, "            '--%s%s[", option->name, option->arg == NULL ? "" : "=");
    print_zsh_text(out, option->doc);
    fputc(']', out);
    if (option->arg != NULL) {
        fputc(':', out);
        print_zsh_text(out, option->arg);
        fputs(":_files", out);
    }
    fputs("' \\\n", out);
}

static void print_zsh(const table *t)
{
    FILE *out = t->out;
    fputs("#compdef walkaudit\n_walkaudit()\n{\n    local -a verbs\n    verbs=(\n", out);
    for (size_t i = 0; i < t->count; i++) {
        fprintf(out, "        '%s:", t->verbs[i].name);
        print_zsh_text(out, t->verbs[i].does);
        fputs("'\n", out);
    }
    fputs("        'help:tell about a verb'\n    )\n    if (( CURRENT == 2 )); then\n        "
          "_describe verb verbs\n        return\n    fi\n"
          "    local verb=$words[2]\n    shift words\n    (( CURRENT-- ))\n    case $verb in\n    "
          "help) _describe verb verbs ;;\n",
          out);
    for (size_t i = 0; i < t->count; i++) {
        if (t->verbs[i].parser == NULL)
            continue;
        fprintf(out, "    %s)\n        _arguments \\\n", t->verbs[i].name);
        walk_verb(&t->verbs[i], print_zsh_option, out);
        fputs("            '--help[tell about the verb]' '*:file:_files' ;;\n", out);
    }
    fputs("    *) _files ;;\n    esac\n}\n_walkaudit \"$@\"\n", out);
}

bool wa_cli_print_document(const char *name, const wa_cli_verb *verbs, size_t count, FILE *out)
{
    static const struct {
        const char *name;
        void (*print)(const table *t);
    } documents[] = {{"man", print_manual},
                     {"man-job", print_job_manual},
                     {"bash", print_bash},
                     {"zsh", print_zsh}};
    const table t = {.verbs = verbs, .count = count, .out = out};
    for (size_t i = 0; i < sizeof documents / sizeof documents[0]; i++)
        if (strcmp(name, documents[i].name) == 0) {
            documents[i].print(&t);
            return true;
        }
    return false;
}
