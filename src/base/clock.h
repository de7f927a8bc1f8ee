/* Time that only goes forward. */
#ifndef WALKAUDIT_BASE_CLOCK_H
#define WALKAUDIT_BASE_CLOCK_H

/** Monotonic seconds. */
double wa_clock(void);
/** Seconds that the calling thread has had a processor: others on the machine count less than by
 * the clock. */
double wa_processor_clock(void);

#endif
