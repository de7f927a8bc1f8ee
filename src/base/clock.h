/* Time that only goes forward. */
#ifndef WALKAUDIT_BASE_CLOCK_H
#define WALKAUDIT_BASE_CLOCK_H

/** Monotonic seconds. */
double wa_clock(void);

#endif
