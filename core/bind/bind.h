/*
** bind.h - the parts that the files of the Lua binding share. Only core/bind includes lua.h. One
** userdata type represents both eager and traced values: a tensor, or a value of an open trace.
*/
#ifndef FM_BIND_H
#define FM_BIND_H

#include <lauxlib.h>
#include <lua.h>
#include <stdarg.h>

#include "../op.h"

fm_ctx *bind_ctx(lua_State *L); /* the context of this Lua state; raises if it is closed */

/* ------------------------------------------------------------------ errors */

enum { BIND_WHERE = 160, BIND_FOUND = 80 };

/*
** Raise {code = ..., message = ..., where = ...} with the context's error sentence (and clear it),
** or with a sentence from a format.
*/
__attribute__((noreturn)) int bind_raise(lua_State *L);
__attribute__((noreturn, format(printf, 3, 4))) int bind_fail(lua_State *L, fm_err code,
                                                              const char *format, ...);
_Noreturn void bind_interrupted(lua_State *L); /* raises "interrupted"; the run can be resumed */
void bind_check_signals(lua_State *L);         /* does so if a signal has arrived */
/* Raise "FUNCTION: argument ARG is FOUND, expected ...". */
__attribute__((format(printf, 3, 4))) _Noreturn void bind_expected(lua_State *L, int arg,
                                                                   const char *format, ...);
/* "file:line: " of the innermost call in the user's code, or "". */
const char *bind_where(lua_State *L, char buf[BIND_WHERE]);
/* A description of the value at `arg`, for sentences. */
const char *bind_found(lua_State *L, int arg, char buf[BIND_FOUND]);
/* The name of the running C function. */
const char *bind_function(lua_State *L, char name[64]);
/* The counterpart of a function of PyTorch, JAX or NumPy; NULL: none is listed. */
const char *bind_counterpart(const char *name);

/* ------------------------------------------------------------------ functions */

/*
** A function without upvalues, and how many arguments it takes, the object of a method not counted:
** Lua drops surplus arguments without a word; here a call with too many raises a sentence.
*/
typedef struct bind_reg {
  const char *name;
  lua_CFunction f;
  int most; /* or BIND_ANY */
} bind_reg;

enum { BIND_ANY = -1 };

/* Add functions, up to one without a name, to the table on top. */
void bind_set(lua_State *L, const bind_reg *list);

/* ------------------------------------------------------------------ handles */

/*
** A box is a userdata whose first field points to the name of its type, under which its metatable
** is registered. bind_box returns NULL unless argument `arg` is such a box. A closed box remains
** one, but is empty.
*/
void *bind_box(lua_State *L, int arg, const char *type, size_t size);
void *bind_new_box(lua_State *L, const char *type, size_t size); /* its other fields are 0 */
/*
** For closing: empty argument 1, a box whose second field is a pointer, and return that pointer to
** be freed. NULL if the box is closed, or for any other value.
*/
void *bind_take(lua_State *L, const char *type);
/* Count bytes outside Lua for its collector, since dropped handles would pile up otherwise. May run
   finalisers. */
void bind_count(lua_State *L, size_t bytes);
/*
** Register a type. `close` also serves as its finaliser: it must accept any value, and a box any
** number of times. Pushes the table of methods, or, if there are no methods, the metatable.
*/
void bind_new_type(lua_State *L, const char *type, const bind_reg *methods, lua_CFunction close);

extern const char bind_tensor_type[], bind_trace_type[];

typedef struct trace_box {
  const char *type;
  fm_prog *p; /* NULL once closed; its values are then stale */
} trace_box;

typedef struct value { /* a tensor; a traced one keeps its trace alive as user value 1 */
  const char *type;
  fm_tensor *t;     /* eager */
  trace_box *trace; /* traced */
  fm_val v;
} value;

value *bind_value(lua_State *L, int arg); /* a value; raises for anything else, or if stale */
value *bind_test(lua_State *L, int arg);  /* a value; NULL for anything else */
fm_sig bind_sig(const value *x);
/*
** An eager value is pushed empty, then its tensor is made and handed to it: an allocation of Lua
** that fails in between would leak the tensor. Pointers to other values are taken after the push,
** which may run finalisers.
*/
value *bind_push_empty(lua_State *L);
void bind_own(lua_State *L, value *x, fm_tensor *t); /* takes over the reference; raises for NULL */
fm_tensor *bind_tensor(lua_State *L, int arg);       /* an eager value; raises for anything else */
fm_tensor *bind_writable(lua_State *L, int arg);     /* the same, and not in a mapped file */
/* The same for the top of the stack, which is entry k (from 1) of the list at argument `arg`. */
value *bind_entry_value(lua_State *L, int arg, int k);
fm_tensor *bind_entry(lua_State *L, int arg, int k, bool writable);
void bind_push_traced(lua_State *L, int trace, fm_val v); /* trace: stack index of its userdata */
trace_box *bind_trace(lua_State *L, int arg);             /* an open one; raises otherwise */
/* x as a value of the trace: a tensor becomes a constant. Raises for a value of another trace. */
fm_val bind_lift(lua_State *L, trace_box *tr, value *x);

/* ------------------------------------------------------------------ arguments */

/* Each raises a sentence by bind_expected if the argument is not of its kind. */
int64_t bind_integer(lua_State *L, int arg, int64_t low, int64_t high);
int64_t bind_opt_integer(lua_State *L, int arg, int64_t otherwise, int64_t low, int64_t high);
double bind_number(lua_State *L, int arg);
const char *bind_text(lua_State *L, int arg, size_t *n); /* a string of any bytes; n may be NULL */
const char *bind_path(lua_State *L, int arg); /* a string that is not empty, without zero bytes */
int bind_option(lua_State *L, int arg, const char *const names[]); /* the index of the string */
/* true or false, nothing that merely counts as such; `name` says which argument it is. */
bool bind_boolean(lua_State *L, int arg, const char *name);
bool bind_opt_boolean(lua_State *L, int arg, const char *name, bool otherwise);
/* Raise if the call has more than n arguments: for functions with upvalues; others are registered
** by bind_set. */
void bind_at_most(lua_State *L, int n);
void bind_method_at_most(lua_State *L, int n); /* likewise, the object of a method not counted */

/* Raises unless there is a table without a metatable: its entries are read without Lua code. */
void bind_table(lua_State *L, int arg, const char *expected);
/* The length of such a table, which has no keys but 1 to its length. */
int bind_list(lua_State *L, int arg, const char *expected);
/* The same for the table at stack index `at`, which sentences call `what`. */
int bind_length(lua_State *L, int at, const char *what, const char *expected);
void bind_shape(lua_State *L, int arg, fm_shape *s); /* a table of sizes, or one number */
void bind_push_shape(lua_State *L, const fm_shape *s);
uint32_t bind_stream(lua_State *L, int arg); /* a number, or a name, which is hashed */
fm_dtype bind_dtype(lua_State *L, int arg, fm_dtype otherwise);

/* ------------------------------------------------------------------ parts */

void bind_open_args(lua_State *L); /* each adds its functions to the table on top of the stack */
void bind_open_counterpart(lua_State *L);
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
void bind_open_ranks(lua_State *L);

#endif
