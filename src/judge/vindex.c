/* The verdict of a vindex: a file that nobody read is no success. */
#include "judge/vindex.h"

wa_vindex_verdict wa_vindex_judge(int vindex, const wa_vindex_facts *facts, const wa_case *cases,
                                  const wa_verdict *verdicts, size_t count)
{
    const wa_verdict *worst = NULL;
    const wa_verdict *not_run = NULL;
    bool ran = false;
    for (size_t c = 0; c < count; c++) {
        if (cases[c].vindex != vindex)
            continue;
        ran = ran || verdicts[c].code != WA_VERDICT_NOT_RUN;
        if (not_run == NULL && verdicts[c].code == WA_VERDICT_NOT_RUN)
            not_run = &verdicts[c];
        if (worst == NULL || wa_verdict_rank(verdicts[c].code) < wa_verdict_rank(worst->code))
            worst = &verdicts[c];
    }
    if (ran)
        return (wa_vindex_verdict){.code = worst->code, .reason = ""};
    if (facts->left_out)
        return (wa_vindex_verdict){.code = WA_VERDICT_LEFT_OUT, .reason = facts->lack};
    const char *reason = facts->lack;
    if (reason[0] == '\0')
        reason =
            not_run != NULL && not_run->reason_count > 0 ? not_run->reasons[0] : "it has no case";
    return (wa_vindex_verdict){.code = WA_VERDICT_UNAUDITED, .reason = reason};
}
