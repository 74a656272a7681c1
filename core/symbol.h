/* symbol.h - functions of libraries that are loaded at run time. Private to the core. */
#ifndef FM_SYMBOL_H
#define FM_SYMBOL_H

#include <dlfcn.h>
#include <stdbool.h>
#include <string.h>

/* The file name of version `major` of lib`name`, for dlopen. */
#if defined(__APPLE__)
#define FM_SHARED(name, major) "lib" name "." major ".dylib"
#else
#define FM_SHARED(name, major) "lib" name ".so." major
#endif

/*
** Set the function pointer at `to` to a function of `library`, or NULL; whether it was found. POSIX
** guarantees that a function pointer can be converted to and from void *.
*/
static inline bool fm_symbol(void *library, const char *name, void *to) {
  void *f = dlsym(library, name);
  memcpy(to, &f, sizeof f);
  return f != NULL;
}

#endif
