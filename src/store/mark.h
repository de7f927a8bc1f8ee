/* What tells the parts of one job, and one run of it, from all others. */
#ifndef WALKAUDIT_STORE_MARK_H
#define WALKAUDIT_STORE_MARK_H

enum { WA_JOB_HASH_BYTES = 96, WA_RUN_ID_BYTES = 33 };

/** Made by rank 0 when it takes the parts directory, and broadcast: what every rank writes into
 * parts and asks of them. */
typedef struct wa_part_mark {
    char job[WA_JOB_HASH_BYTES]; /* hash of the job's fingerprint */
    char run[WA_RUN_ID_BYTES];   /* of the owner lock: only its holder publishes */
    int captures;                /* number of the folder that this job's captures go to */
} wa_part_mark;

#endif
