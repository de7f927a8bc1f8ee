/* What a result's arrays say about one case. Private to src/judge. */
#ifndef WALKAUDIT_JUDGE_EVIDENCE_H
#define WALKAUDIT_JUDGE_EVIDENCE_H

#include "judge/judgement.h"

/** Evidence of case `which`; its summary is judged as it stands in `out`. Arena. */
WA_CHECKED wa_status wa_evidence_build(const wa_result *result, size_t which, wa_arena *arena,
                                       wa_case_judgement *out, wa_error *err);

#endif
