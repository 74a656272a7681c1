/*
** bind.h - what the files of the Lua binding share. They are the only ones that include lua.h.
** One userdata type serves eager and traced values: a tensor, or a value of an open trace.
*/
#ifndef FM_BIND_H
#define FM_BIND_H

#include <lauxlib.h>
#include <lua.h>
#include <stdarg.h>

#include "../op.h"

fm_ctx *bind_ctx(lua_State *L);

/* ------------------------------------------------------------------ errors */

enum { BIND_WHERE = 160, BIND_FOUND = 80 };

/* Raise {code = ..., message = ..., where = ...} from the context's sentence, or from a format. */
__attribute__((noreturn)) int bind_raise(lua_State *L);
__attribute__((noreturn, format(printf, 3, 4))) int bind_fail(lua_State *L, fm_err code,
                                                              const char *format, ...);
_Noreturn void bind_interrupted(lua_State *L); /* the error of a signal, which a run can resume */
void bind_look_at_signals(lua_State *L);       /* raises that error if a signal came */
/* "FUNCTION: argument ARG is FOUND, expected ..." */
__attribute__((format(printf, 3, 4))) _Noreturn void bind_expected(lua_State *L, int arg,
                                                                   const char *format, ...);
const char *bind_where(lua_State *L, char buf[BIND_WHERE]); /* "file:line: " of the user, or "" */
const char *bind_found(lua_State *L, int arg, char buf[BIND_FOUND]); /* what is there, in words */
const char *bind_function(lua_State *L, char name[64]);              /* the running C function */

/* ------------------------------------------------------------------ handles */

/*
** A box is a userdata whose first field is the pointer to its type's name, with which its metatable
** is registered. bind_box: NULL unless argument `arg` is one. A closed box stays one, empty.
*/
void *bind_box(lua_State *L, int arg, const char *type, size_t size);
void *bind_new_box(lua_State *L, const char *type, size_t size); /* all else in it 0 */
/* `close` serves as finaliser: it takes any value, and a box any number of times. Pushes the table
   of methods, or without methods the metatable. */
void bind_new_type(lua_State *L, const char *type, const luaL_Reg *methods, lua_CFunction close);

extern const char bind_tensor_type[], bind_trace_type[];

typedef struct trace_box {
  const char *type;
  fm_prog *p; /* NULL once closed: values of it are stale */
} trace_box;

typedef struct value { /* a tensor; a traced one keeps its trace as user value 1 */
  const char *type;
  fm_tensor *t;     /* eager */
  trace_box *trace; /* traced */
  fm_val v;
} value;

value *bind_value(lua_State *L, int arg); /* raises a sentence if it is none, or stale */
value *bind_test(lua_State *L, int arg);  /* NULL if it is none */
fm_sig bind_sig(const value *x);
void bind_push_tensor(lua_State *L, fm_tensor *t);        /* takes the reference; NULL raises */
fm_tensor *bind_tensor(lua_State *L, int arg);            /* an eager one, or raises */
fm_tensor *bind_writable(lua_State *L, int arg);          /* and one that is no mapped file */
void bind_push_traced(lua_State *L, int trace, fm_val v); /* trace: stack index of its userdata */
trace_box *bind_trace(lua_State *L, int arg);
fm_val bind_lift(lua_State *L, trace_box *tr,
                 value *x); /* a value of the trace; constants lifted */

/* ------------------------------------------------------------------ arguments */

int64_t bind_integer(lua_State *L, int arg, int64_t low, int64_t high);
int64_t bind_opt_integer(lua_State *L, int arg, int64_t otherwise, int64_t low, int64_t high);
double bind_number(lua_State *L, int arg);
const char *bind_text(lua_State *L, int arg, size_t *n);           /* any bytes; n may be NULL */
const char *bind_path(lua_State *L, int arg);                      /* a text without zeros */
int bind_option(lua_State *L, int arg, const char *const names[]); /* the index of the text */

/* The length of a plain table, whose entries are then read raw: no Lua code runs. */
int bind_list(lua_State *L, int arg, const char *expected);
void bind_shape(lua_State *L, int arg, fm_shape *s); /* a table of sizes, or one number */
void bind_push_shape(lua_State *L, const fm_shape *s);
uint32_t bind_stream(lua_State *L, int arg); /* a number, or a name, hashed */
fm_dtype bind_dtype(lua_State *L, int arg, fm_dtype otherwise);

/* ------------------------------------------------------------------ parts */

void bind_open_args(lua_State *L); /* each adds its functions to the table on top */
void bind_open_tensor(lua_State *L);
void bind_open_ops(lua_State *L);
void bind_open_prog(lua_State *L);
void bind_open_optim(lua_State *L);
void bind_open_io(lua_State *L);
void bind_open_signal(lua_State *L);
void bind_open_system(lua_State *L);
void bind_open_check(lua_State *L);
void bind_open_data(lua_State *L);
void bind_open_linalg(lua_State *L);
void bind_open_process(lua_State *L);
void bind_open_lock(lua_State *L);
void bind_open_files(lua_State *L);

#endif
