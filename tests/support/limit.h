#ifndef TESTS_SUPPORT_LIMIT_H
#define TESTS_SUPPORT_LIMIT_H
/* How long a test waits for what has to come. No test passes by it, so it is long: a machine with
 * other work, a sanitizer or valgrind makes seconds of what is a moment otherwise. That of
 * tests/run-unit.sh, for a whole program, is longer. */
enum { TEST_LIMIT_MS = 300000 };
#endif
