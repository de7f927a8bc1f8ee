"""Manual page and bash completion of walkaudit-report, made of its parser:  python3 -m walkaudit_report.manual VERSION man|bash"""
import argparse
import sys

from .cli import build_parser


def verbs_of(parser):
    """{name: parser} of the verbs, and {name: one line}."""
    action = next(a for a in parser._actions if isinstance(a, argparse._SubParsersAction))
    return action.choices, {choice.dest: choice.help for choice in action._choices_actions}


def options_of(parser):
    return [action for action in parser._actions if action.option_strings]


def roff(text):
    """Text of one or more lines as roff takes it."""
    lines = text.replace("\\", "\\e").replace("-", "\\-").replace("`", "").split("\n")
    return "\n".join(("\\&" if line[:1] in (".", "'") else "") + line.strip() for line in lines)


def usage(parser):
    return " ".join(parser.format_usage().split()).removeprefix("usage: ")


def option(action, parser):
    names = ", ".join(f"\\fB{roff(name)}\\fR" for name in action.option_strings)
    value = "" if action.nargs == 0 else f" \\fI{roff(str(action.metavar or action.dest.upper()))}\\fR"
    text = parser._get_formatter()._expand_help(action) if action.help else ""
    return f".TP\n{names}{value}\n{roff(text)}"


def man(parser, version):
    verbs, _ = verbs_of(parser)
    lines = [f'.TH WALKAUDIT-REPORT 1 "" "walkaudit {version}" "walkaudit"', ".SH NAME",
             f"walkaudit\\-report \\- {roff(parser.description)}", ".SH SYNOPSIS", roff(usage(parser)), ".SH VERBS"]
    for name, verb in verbs.items():
        lines += [f".SS {roff(name)}", roff(usage(verb)), ".PP", roff(verb.description)]
        lines += [option(action, verb) for action in options_of(verb)]
    return "\n".join([*lines, ".SH EXIT STATUS", roff(parser.epilog), ".SH SEE ALSO", ".BR walkaudit (1)"]) + "\n"


def bash(parser, _):
    verbs, _ = verbs_of(parser)
    rows = [f'        {name}) words="{" ".join(word for action in options_of(verb) for word in action.option_strings)}" ;;'
            for name, verb in verbs.items()]
    return "\n".join([
        "# bash completion of walkaudit-report: words of the command line; files where a file may stand.", "_walkaudit_report()", "{",
        "    local word=${COMP_WORDS[COMP_CWORD]} words", "    COMPREPLY=()", '    if [ "$COMP_CWORD" -eq 1 ]; then',
        f'        words="{" ".join(verbs)} --help"', "    else", "        case ${COMP_WORDS[1]} in", *rows, "        esac",
        "        [ \"${word#-}\" != \"$word\" ] || words=", "    fi",
        '    [ -z "$words" ] || COMPREPLY=($(compgen -W "$words" -- "$word"))', "}",
        "complete -o default -F _walkaudit_report walkaudit-report"]) + "\n"


if __name__ == "__main__":
    documents = {"man": man, "bash": bash}
    if len(sys.argv) != 3 or sys.argv[2] not in documents:
        sys.exit("expected VERSION and man or bash")
    sys.stdout.write(documents[sys.argv[2]](build_parser(), sys.argv[1]))
