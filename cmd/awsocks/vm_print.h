#ifndef CMD_AWSOCKS_VM_PRINT_H
#define CMD_AWSOCKS_VM_PRINT_H
/* What machine_describe() says (vm/machine.h), for people: of `awsocks vm status` and `status`. */
struct cJSON;

void vm_print(const struct cJSON *vm);
#endif
