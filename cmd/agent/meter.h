#ifndef CMD_AGENT_METER_H
#define CMD_AGENT_METER_H
#include <stdint.h>

/* Bytes, of the whole guest, by /proc/meminfo; 0: not known. */
void meter_memory(uint64_t *total, uint64_t *available);
#endif
