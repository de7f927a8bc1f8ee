/* One JSON object on stdout. */
#include "cli/document.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

json_t *wa_cli_document(const char *name, int version)
{
    char schema[64];
    snprintf(schema, sizeof schema, "walkaudit.%s", name);
    return json_pack("{s:s, s:i}", "schema", schema, "version", version);
}

json_t *wa_cli_number(double value)
{
    return isfinite(value) ? json_real(value) : json_null();
}

json_t *wa_cli_case(const wa_case *which, const char *name)
{
    return json_pack("{s:s, s:s, s:s, s:s?}", "case", name, "bucket", wa_bucket_name(which->bucket),
                     "kernel", wa_label_text(which->kernel), "not_run", which->not_run);
}

wa_status wa_cli_print_json(json_t *object, wa_error *err)
{
    char *text = json_dumps(object, JSON_INDENT(2) | JSON_PRESERVE_ORDER);
    json_decref(object);
    if (text == NULL)
        return wa_fail(err, WA_E_MEMORY, "no memory for the answer in JSON");
    puts(text); /* main.c looks whether it could be written */
    free(text);
    return WA_OK;
}
