#ifndef TESTS_LINT_ANALYSER_H
#define TESTS_LINT_ANALYSER_H
/*
 * Included before every file that clang-tidy reads, never by the compiler: it
 * looks at one file at a time, so it must be told what base/err.c promises,
 * that these return -1. Otherwise every `return err_set(...)` looks as if it
 * might be a success.
 */
#include "base/err.h"

#define err_set(...)  ((void)err_set(__VA_ARGS__), -1)
#define err_sys(...)  ((void)err_sys(__VA_ARGS__), -1)
#define err_wrap(...) ((void)err_wrap(__VA_ARGS__), -1)
#endif
