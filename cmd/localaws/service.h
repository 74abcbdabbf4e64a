#ifndef LOCALAWS_SERVICE_H
#define LOCALAWS_SERVICE_H
/*
 * Which of the services a request is for, whether it may, and its answer:
 * JSON 1.1 (ssm), Query with XML (sts, ec2), the data channel's upgrade
 * (ssmmessages), and the emulator's own /_localaws/.
 */
struct reply;
struct request;
struct world;

void service_handle(struct world *, const struct request *, struct reply *);
#endif
