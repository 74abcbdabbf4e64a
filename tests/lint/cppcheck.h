#ifndef TESTS_LINT_CPPCHECK_H
#define TESTS_LINT_CPPCHECK_H
/*
 * Included before every file that cppcheck reads, never by the compiler: it does not see the
 * libraries' headers, so it is told here what cJSON's loop is. By -D it cannot be told: that ends
 * at a semicolon, and what is left of it makes cppcheck look at nothing, silently.
 */
#define cJSON_ArrayForEach(e, a) for ((e) = (a) ? (a)->child : 0; (e); (e) = (e)->next)
#endif
