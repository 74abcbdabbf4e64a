#ifndef CMD_AWSOCKS_LIB_MEMORY_H
#define CMD_AWSOCKS_LIB_MEMORY_H
/* Has OpenSSL and cJSON wipe what they free (curl: net/http_multi.c). First of all in main():
 * OpenSSL takes no other allocator once it has used one. */
void lib_memory_hook(void);
#endif
