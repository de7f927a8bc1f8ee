/* Text that may hold any bytes, such as paths, as UTF-8. */
#ifndef WALKAUDIT_BASE_UTF8_H
#define WALKAUDIT_BASE_UTF8_H

#include "base/arena.h"

/** The same text when it is valid UTF-8, else a copy with bad bytes as \xHH. */
WA_CHECKED wa_status wa_text_escape(const char *text, wa_arena *arena, const char **out,
                                    wa_error *err);

#endif
