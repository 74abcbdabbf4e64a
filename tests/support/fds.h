#ifndef TESTS_SUPPORT_FDS_H
#define TESTS_SUPPORT_FDS_H
#include <stddef.h>

size_t fds_open(void); /* descriptors that this process holds */
#endif
