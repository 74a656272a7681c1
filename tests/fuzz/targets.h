/* targets.h - the readers that are fuzzed, in C (targets.c) and in Lua (readers.lua by lua.c). */
#ifndef TARGETS_H
#define TARGETS_H

#include <stddef.h>
#include <stdint.h>

/* Read n bytes in every way that the target has; abort with a sentence where a reader is wrong. */
typedef void (*target)(const uint8_t *bytes, size_t n);

extern const char *target_name; /* from the environment: FUZZ_TARGET */

/* A file that holds these bytes, until the next call; its path is always the same. */
const char *file_of(const uint8_t *bytes, size_t n);

_Noreturn void wrong(const char *format, ...);

void lua_start(void);
void lua_target(const uint8_t *bytes, size_t n);

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n);
int LLVMFuzzerInitialize(int *argc, char ***argv);

#endif
