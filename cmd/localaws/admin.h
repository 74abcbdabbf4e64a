#ifndef LOCALAWS_ADMIN_H
#define LOCALAWS_ADMIN_H
/*
 * /_localaws/stats (GET): counters as JSON. /_localaws/faults: GET shows what
 * is set, POST sets: a JSON object { "lose-client": 2, "zombie": true,
 * "delay": null }, or lines as `--fault` takes them ("clear" turns all off).
 * Unsigned: only loopback reaches it.
 */
struct reply;
struct request;
struct world;

void admin_handle(struct world *, const struct request *, struct reply *);
#endif
