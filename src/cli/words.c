/* Option values with units: bytes and durations. */
#include "cli/cli.h"

#include "base/bytes.h"

#include <errno.h>
#include <limits.h>
#include <stdlib.h>

int wa_cli_count(const char *option, const char *word, const struct argp_state *state)
{
    char *end;
    errno = 0;
    long value = strtol(word, &end, 10);
    if (errno != 0 || end == word || *end != '\0' || value < 1 || value > INT_MAX)
        argp_error(state, "%s '%s', expected a number from 1", option, word);
    return (int)value;
}

/* Bytes, or a number with K, M, G or T for powers of 1024. */
size_t wa_cli_bytes(const char *option, const char *word, const struct argp_state *state)
{
    static const char units[] = "KMGT";
    char *end;
    errno = 0;
    unsigned long long value = strtoull(word, &end, 10);
    const char *unit = *end == '\0' ? NULL : strchr(units, *end);
    unsigned shift = unit == NULL ? 0 : 10 * (unsigned)(unit - units + 1);
    bool whole = *end == '\0' || (unit != NULL && end[1] == '\0');
    if (errno != 0 || end == word || word[0] == '-' || !whole || value == 0 ||
        value > (SIZE_MAX >> shift))
        argp_error(state, "%s '%s', expected bytes, or a number with K, M, G or T", option, word);
    return (size_t)value << shift;
}

/* Seconds of "90", "90s", "45m", "3h30m", "1d12h": numbers with descending units, the last one's
 * unit is seconds. */
static bool parse_duration(const char *text, double *out)
{
    static const char units[] = "dhms";
    static const double seconds[] = {86400.0, 3600.0, 60.0, 1.0};
    double total = 0.0;
    size_t next = 0;
    do {
        char *end;
        if (*text < '0' || *text > '9')
            return false;
        unsigned long number = strtoul(text, &end, 10);
        const char *unit = *end == '\0' ? strchr(units, 's') : strchr(units, *end);
        if (unit == NULL || (size_t)(unit - units) < next || number > 1000000000UL)
            return false;
        next = (size_t)(unit - units) + 1;
        total += (double)number * seconds[next - 1];
        text = *end == '\0' ? end : end + 1;
    } while (*text != '\0');
    *out = total;
    return true;
}

double wa_cli_duration(const char *option, const char *text, const struct argp_state *state)
{
    double value = 0.0;
    if (!parse_duration(text, &value))
        argp_error(state, "%s: found '%s', expected a duration such as 90s, 45m or 3h30m", option,
                   text);
    return value;
}
