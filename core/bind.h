/*
** bind.h - what the files of the Lua binding share. They are the only ones that include lua.h.
** One userdata type serves eager and traced values: a tensor, or a value of an open trace.
*/
#ifndef FM_BIND_H
#define FM_BIND_H

#include <lauxlib.h>
#include <lua.h>

#include "op.h"

#define FM_TENSOR "flowmap.tensor"
#define FM_TRACE "flowmap.trace"

typedef struct trace_box { /* userdata FM_TRACE */
  fm_prog *p;              /* NULL once closed: values of it are stale */
} trace_box;

typedef struct value { /* userdata FM_TENSOR; a traced one keeps its trace as user value 1 */
  fm_tensor *t;        /* eager */
  trace_box *trace;    /* traced */
  fm_val v;
} value;

fm_ctx *bind_ctx(lua_State *L);

/* Raise {code = ..., message = ...} from the context's sentence, or from a format. */
__attribute__((noreturn)) int bind_raise(lua_State *L);
__attribute__((noreturn)) int bind_fail(lua_State *L, fm_err code, const char *format, ...);

value *bind_value(lua_State *L, int arg); /* raises a sentence if it is none, or stale */
value *bind_test(lua_State *L, int arg);  /* NULL if it is none */
fm_sig bind_sig(lua_State *L, const value *x);
void bind_push_tensor(lua_State *L, fm_tensor *t);        /* takes the reference; NULL raises */
fm_tensor *bind_tensor(lua_State *L, int arg);            /* an eager one, or raises */
void bind_push_traced(lua_State *L, int trace, fm_val v); /* trace: stack index of its userdata */
trace_box *bind_trace(lua_State *L, int arg);
fm_val bind_lift(lua_State *L, trace_box *tr,
                 value *x); /* a value of the trace; constants lifted */

void bind_shape(lua_State *L, int arg, fm_shape *s); /* a table of sizes, or one number */
void bind_push_shape(lua_State *L, const fm_shape *s);
uint32_t bind_stream(lua_State *L, int arg); /* a number, or a name, hashed */
fm_dtype bind_dtype(lua_State *L, int arg, fm_dtype otherwise);

void bind_open_tensor(lua_State *L); /* each adds its functions to the table on top */
void bind_open_ops(lua_State *L);
void bind_open_prog(lua_State *L);
void bind_open_optim(lua_State *L);
void bind_open_io(lua_State *L);
void bind_open_system(lua_State *L);
void bind_open_check(lua_State *L);
void bind_open_data(lua_State *L);
void bind_open_linalg(lua_State *L);
void bind_open_process(lua_State *L);
void bind_open_lock(lua_State *L);
void bind_open_files(lua_State *L);

#endif
