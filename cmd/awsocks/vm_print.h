#ifndef CMD_AWSOCKS_VM_PRINT_H
#define CMD_AWSOCKS_VM_PRINT_H
/* What machine_describe() says (vm/machine.h), for people: of `awsocks vm status` and `status`. */
struct cJSON;

void vm_print(const struct cJSON *vm);
/* A member's text; "" if there is none. */
const char *vm_text(const struct cJSON *, const char *key);
#endif
