/*
** fm.h - the public C API of flowmap's numerical core, in reading order:
** context and errors, memory, tensors, linear algebra, random numbers, programs
** and their operations, execution, threads, optimisers, files.
**
** Ownership in one sentence per type:
**   fm_ctx     owns the error sentence, the thread pool and the memory account; free it last.
**   fm_tensor  is reference counted: fm_tensor_new returns one reference, fm_tensor_drop drops it.
**   fm_prog    owns its nodes and one reference to each constant tensor it mentions.
**   fm_plans   owns its programs and schedules; what it was compiled from may be freed before it.
**   fm_exe     owns its plans, arenas and partial sums.
**   fm_optim   owns its moments and averages, and one reference to each parameter.
**   fm_ckpt    owns the names, tensors and metadata read from a file.
**
** Every function that can fail returns fm_err (or NULL or -1) and leaves ONE sentence in the
** context: the operation, the argument, what was found, what was expected. The core never prints
** or exits.
*/
#ifndef FM_H
#define FM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define FM_VERSION "0.3.1"
#define FM_MAX_DIMS 6 /* largest tensor rank */

/* ------------------------------------------------------------------ context and errors */

typedef enum fm_err {
  FM_OK = 0,
  FM_EUSAGE,   /* a wrong argument: shape, dtype, name, range      (exit code 2) */
  FM_EDATA,    /* a file that is missing, damaged or not writable  (exit code 3) */
  FM_ENUMERIC, /* NaN or infinity where a finite number is needed  (exit code 4) */
  FM_ENOMEM    /* out of memory                                    (exit code 2) */
} fm_err;

typedef struct fm_ctx fm_ctx;

/*
** A context that computes on `threads` threads, the caller's included. 0 (and any number that is
** not in 1..256) selects the environment variable FM_THREADS or, without it, one thread per
** processor available to the process. NULL if memory is short or OpenBLAS cannot be loaded.
*/
fm_ctx *fm_ctx_new(int threads);
void fm_ctx_free(fm_ctx *ctx); /* NULL is allowed */

/* Record a sentence (printf style) and return `err`. The first sentence stays until cleared. */
#if defined(__GNUC__)
__attribute__((format(printf, 3, 4)))
#endif
fm_err
fm_fail(fm_ctx *ctx, fm_err err, const char *format, ...);
const char *fm_error(const fm_ctx *ctx); /* the sentence, "" if there is none */
fm_err fm_error_code(const fm_ctx *ctx); /* its code, FM_OK if there is none */
void fm_error_clear(fm_ctx *ctx);

int fm_threads(const fm_ctx *ctx);
/* 1..256, else FM_EUSAGE. Results do not depend on the number of threads. */
fm_err fm_set_threads(fm_ctx *ctx, int threads);

/* ------------------------------------------------------------------ memory */

/*
** Tensors, programs, executables, optimisers and files in memory are allocated here: 64-byte
** aligned, counted, and failing on demand. (The context itself, texts of programs, and what ranks,
** mapped files and private folders need beside come from malloc.) Sizes are in bytes; a block is
** freed with the size it was allocated with.
*/
void *fm_alloc(fm_ctx *ctx, size_t bytes);                    /* NULL and FM_ENOMEM on failure */
void *fm_resize(fm_ctx *ctx, void *p, size_t was, size_t to); /* NULL on failure; p stays valid */
void fm_free(fm_ctx *ctx, void *p, size_t bytes);             /* NULL is allowed */
size_t fm_bytes_now(const fm_ctx *ctx);
size_t fm_bytes_peak(const fm_ctx *ctx);
void fm_fail_alloc(fm_ctx *ctx, long k); /* for tests: the k-th next allocation fails; 0: none */

/* ------------------------------------------------------------------ tensors */

/*
** FM_U8 stores images. Such tensors can be created, sliced by rows, cast, and read by the operation
** `pixels`; every other operation refuses them (FM_EUSAGE).
*/
typedef enum fm_dtype { FM_F32 = 0, FM_F64 = 1, FM_U8 = 2 } fm_dtype;

typedef struct fm_shape {
  int nd;                 /* rank, 0 (a scalar) .. FM_MAX_DIMS */
  int64_t d[FM_MAX_DIMS]; /* sizes, outermost first; unused entries are 0 */
} fm_shape;

typedef struct fm_sig { /* the type of a value, known before the value is computed */
  fm_dtype dtype;
  fm_shape shape;
} fm_sig;

/*
** Row-major, contiguous values, aligned to 64 bytes except in a view or a mapped file. Only the
** owner may write `data`, and never when it lies in a mapped file, whose pages are read-only.
*/
typedef struct fm_tensor {
  fm_ctx *ctx;
  void *data;
  size_t bytes;
  fm_shape shape;
  fm_dtype dtype;
  int refs;
  void *map; /* the mapped file that holds `data`; NULL: `data` is from fm_alloc */
  size_t map_bytes;
  struct fm_tensor *of; /* of a view: the tensor, itself not a view, that holds `data`; or NULL */
  uint64_t writes;      /* how often `data` has been overwritten: see fm_tensor_written */
} fm_tensor;

size_t fm_dtype_size(fm_dtype dtype);
const char *fm_dtype_name(fm_dtype dtype); /* "float32", "float64", "uint8" */
int64_t fm_shape_count(const fm_shape *s); /* number of values; 1 for a scalar */
bool fm_shape_eq(const fm_shape *a, const fm_shape *b);
/*
** Whether rank and sizes are in range and the product of any subset of the sizes, in bytes, stays
** below 2^60. This holds for every tensor and every value of a program, so that arithmetic on their
** shapes cannot overflow.
*/
bool fm_sig_fits(const fm_sig *sig);
const char *fm_shape_text(const fm_shape *s, char buf[96]); /* "(2, 3)"; returns buf */

/* Zeros; NULL on failure (FM_EUSAGE: the shape does not fit; FM_ENOMEM). */
fm_tensor *fm_tensor_new(fm_ctx *ctx, fm_dtype dtype, const fm_shape *shape);
/*
** A tensor that takes over `data`, allocated by fm_alloc or lying inside the mapping `map` (if not
** NULL), which is unmapped with the tensor. NULL on failure; the caller then still owns the memory.
*/
fm_tensor *fm_tensor_over(fm_ctx *ctx, fm_dtype dtype, const fm_shape *shape, void *data, void *map,
                          size_t map_bytes);
/* Rows [first, first + n) of t, aliasing t's memory. NULL on failure (FM_EUSAGE: no such rows). */
fm_tensor *fm_tensor_view(fm_tensor *t, int64_t first, int64_t n);
bool fm_tensor_overlap(const fm_tensor *a, const fm_tensor *b); /* whether they share any value */
/* Count that values of t, which programs may hold as a constant, have been overwritten. */
void fm_tensor_written(fm_tensor *t);
uint64_t fm_tensor_writes(const fm_tensor *t); /* of the tensor, and of all its views */
fm_tensor *fm_tensor_keep(fm_tensor *t);
void fm_tensor_drop(fm_tensor *t);                         /* NULL is allowed */
double fm_tensor_get(const fm_tensor *t, int64_t i);       /* flat index, as double */
void fm_tensor_set(fm_tensor *t, int64_t i, double value); /* uint8: by fm_byte */
uint8_t fm_byte(double value);                             /* rounded, clamped to 0..255; NaN: 0 */
/* Whether all values are finite; if not, `where` (or NULL) gets the flat index of the first. */
bool fm_tensor_finite(const fm_tensor *t, int64_t *where);

/* ------------------------------------------------------------------ linear algebra, sorting */

/*
** Eigendecomposition of a symmetric float64 matrix a: (n, n) by divide and conquer (LAPACK's
** dsyevd): a = v' diag(w) v with w: (n) ascending and row k of v: (n, n) the unit eigenvector of
** w[k]. FM_EUSAGE: not a square float64 matrix, more than 16384 rows, or not symmetric to within
** 1e-8 of its largest value; FM_ENUMERIC: not finite. The caller drops *w and *v.
*/
fm_err fm_eigh(fm_ctx *ctx, const fm_tensor *a, fm_tensor **w, fm_tensor **v);

/*
** A copy of x: (..., n), float32 or float64, sorted ascending along its last axis. NULL on failure
** (FM_EUSAGE: another dtype or a scalar; FM_ENUMERIC: a NaN).
*/
fm_tensor *fm_sort_rows(fm_ctx *ctx, const fm_tensor *x);

/* ------------------------------------------------------------------ random numbers */

/*
** Philox4x32-10 (Salmon et al., SC 2011). A value depends only on (seed, stream, step, sample
** index, position in the sample), hence not on micro-batches, threads or resumption.
*/
typedef struct fm_rng {
  uint64_t seed;
  uint32_t stream; /* the use: data, base noise, times, dropout, ... */
  uint32_t step;   /* training step */
} fm_rng;

/* The largest number of values per sample; beyond it samples would share values. */
#define FM_RNG_VALUES(dtype) ((int64_t)1 << ((dtype) == FM_F32 ? 26 : 25))
/* The number of samples per step, for the same reason: a sample's index has 40 bits. */
#define FM_RNG_SAMPLES ((int64_t)1 << 40)

void fm_philox(const uint32_t counter[4], const uint32_t key[2], uint32_t out[4]);
/*
** y: (rows, cols), whose first row is the sample `row0`; row0 + rows <= FM_RNG_SAMPLES. Uniform on
** [0, 1) with 24 bits (float64: 53); normal by Box-Muller.
*/
void fm_rng_uniform(const fm_rng *r, fm_dtype t, int64_t row0, int64_t rows, int64_t cols, void *y);
void fm_rng_normal(const fm_rng *r, fm_dtype t, int64_t row0, int64_t rows, int64_t cols, void *y);

/* ------------------------------------------------------------------ programs */

/*
** A program is a straight-line list of operations on shaped values, in SSA form. It is built once
** by tracing and then only transformed (jvp, vjp, optimise) or executed.
*/
typedef struct fm_prog fm_prog;
typedef struct fm_op fm_op;  /* see op.h; the table of all operations is ops.def */
typedef int32_t fm_val;      /* a value: the index of the node that computes it */
#define FM_NONE ((fm_val)-1) /* no value: an absent tangent or cotangent means zero */

typedef struct fm_attr { /* the attributes of an operation; unused entries are 0 */
  int64_t i[8];
  double f[2];
} fm_attr;

const fm_op *fm_op_find(const char *name); /* NULL if there is none */
int fm_op_count(void);
const fm_op *fm_op_at(int k);

/* Run one operation at once. The result is a new tensor (one reference); NULL on failure. */
fm_tensor *fm_apply(fm_ctx *ctx, const fm_op *op, int nin, fm_tensor *const *in, const fm_attr *a);

fm_prog *fm_prog_new(fm_ctx *ctx);      /* an empty program; NULL on failure */
void fm_prog_free(fm_prog *p);          /* NULL is allowed */
fm_err fm_prog_error(const fm_prog *p); /* sticky: set by the first failing emission */
int fm_prog_count(const fm_prog *p);    /* number of nodes */
fm_sig fm_prog_sig(const fm_prog *p, fm_val v);

/* Append a node, or find an equal or simpler value; no operand may be absent. On failure returns
** FM_NONE, and so does every later emission, whatever its operands. */
fm_val fm_emit(fm_prog *p, const fm_op *op, int nin, const fm_val *in, const fm_attr *attr);
fm_val fm_const(fm_prog *p, fm_tensor *t); /* the value of t; keeps a reference to it */

/*
** An input is passed whole to every micro-batch (shared), or split along its first axis (rows); the
** signature is that of one micro-batch.
*/
typedef enum fm_role { FM_SHARED, FM_ROWS } fm_role;
fm_val fm_input(fm_prog *p, fm_role role, const fm_sig *sig);

/* Outputs are summed over the micro-batches in a fixed tree (sum) or concatenated (stack). */
typedef enum fm_merge { FM_SUM, FM_STACK } fm_merge;
fm_err fm_output(fm_prog *p, fm_val v, fm_merge merge);

/*
** Forward mode: the tangents dy[] of y[] for tangents dx[] of x[] (FM_NONE: zero). Emits into the
** same program and shares its values. dy[k] may be FM_NONE (zero).
*/
fm_err fm_jvp(fm_prog *p, int nx, const fm_val *x, const fm_val *dx, int ny, const fm_val *y,
              fm_val *dy);
/* Reverse mode: the cotangents dx[] of x[] for cotangents dy[] of y[]; FM_NONE again means zero. */
fm_err fm_vjp(fm_prog *p, int ny, const fm_val *y, const fm_val *dy, int nx, const fm_val *x,
              fm_val *dx);

/* Switches of the passes; every combination gives the same values. */
enum {
  FM_PASS_REASSOCIATE = 1,
  FM_PASS_STACK = 2,
  FM_PASS_FUSE = 4,
  FM_PASS_CSE = 8,
  FM_PASS_LOWER = 16,
  FM_PASS_HOIST = 32,
  FM_PASS_RECOMPUTE = 64,
  FM_PASS_ALL = 127
};
/* Passed along with the switches, but changes values: wide float32 matrix products round their
   operands to bfloat16 and sum in float32 (see ops/matmul.c, kernels/gemm_bf16.h). */
enum { FM_BF16 = 256 };
/* For tests: save memory in programs of any size, not only in large ones. */
enum { FM_SCARCE = 512 };

/* A pass of the compiler. The table lists them in the order in which fm_compile runs them. */
typedef struct fm_pass {
  const char *name;
  const char *doc;  /* one sentence */
  const char *maps; /* its input and output: "program -> program", "program -> plan", ... */
  int switches;     /* the FM_PASS_ flags that enable it; 0: it always runs */
} fm_pass;
int fm_pass_count(void);
const fm_pass *fm_pass_at(int k); /* 0 <= k < fm_pass_count() */

/*
** Called with the program after each pass, even if the pass is switched off or changes nothing.
** `pass` is a name of the table. `part` names the program within the compilation: "program 1", ...
** before hoisting, then "prologue 1", ..., "body 1", ..., "epilogue 1", .... `p` is borrowed for
** the duration of the call. From fusion on, fused[v] is the fused pass that computes value v, or
** -1; before, `fused` is NULL.
*/
typedef void (*fm_pass_watch)(void *data, const char *pass, const char *part, const fm_prog *p,
                              const int *fused);

typedef struct fm_options {
  int passes;          /* FM_PASS_ALL, FM_BF16, ... */
  fm_pass_watch watch; /* called after each pass; or NULL */
  void *data;          /* its first argument */
} fm_options;

/*
** Plans of programs that were traced for the micro-batch shapes of one batch. The programs must
** agree in their inputs and outputs, rows excepted; they are copied and may be freed afterwards.
** NULL on failure.
*/
typedef struct fm_plans fm_plans;
fm_plans *fm_compile(fm_ctx *ctx, int nprogs, fm_prog *const *progs, const fm_options *options);
void fm_plans_free(fm_plans *plans); /* NULL is allowed */
/*
** The programs that the named pass leaves, as text for reading, in the form that program/text.h
** describes: a comment above each counts its operations, their FLOPs and the bytes of their
** results; dead values and programs without outputs are omitted. The caller frees the text by
** free(). NULL: compilation failed, or there is no such pass.
*/
char *fm_compile_text(fm_ctx *ctx, int nprogs, fm_prog *const *progs, int passes, const char *pass);

/* ------------------------------------------------------------------ execution */

/*
** An executable: plans for the micro-batches of one batch, with one arena per worker; sums over
** micro-batches are added in a fixed binary tree.
*/
typedef struct fm_exe fm_exe;

/* The micro-batches of a batch: number k runs program which[k] on rows row0[k] .. row0[k+1] - 1. */
typedef struct fm_micro_batches {
  int nmicro;
  const int *which;    /* program of micro-batch k */
  const int64_t *row0; /* its first sample; row0[nmicro] is the batch size */
} fm_micro_batches;

/* The executable of plans, which it takes over, whatever happens; NULL on failure. */
fm_exe *fm_exe_of(fm_plans *plans, const fm_micro_batches *micro);
/* fm_exe_of the programs' plans, compiled without a watch. */
fm_exe *fm_exe_new(fm_ctx *ctx, int nprogs, fm_prog *const *progs, const fm_micro_batches *micro,
                   int passes);
void fm_exe_free(fm_exe *e);

typedef struct fm_job { /* one run of an executable */
  uint64_t seed;        /* of the random numbers */
  uint32_t step;        /* likewise */
  fm_tensor *const *in; /* one per input: shared, or with the whole batch as its first axis */
  fm_tensor **out;      /* one per output, overwritten by the sum or by all rows; shares no memory
                           with another output, an input or a constant of the program */
} fm_job;

/*
** Run a job. FM_EUSAGE: an input or output is missing or has another dtype or shape, or an output
** shares memory; FM_EDATA: a mapped file changed meanwhile; FM_ENOMEM.
*/
fm_err fm_exe_run(fm_exe *e, const fm_job *job);
int fm_exe_ins(const fm_exe *e);
int fm_exe_outs(const fm_exe *e);
fm_sig fm_exe_out(const fm_exe *e, int k, fm_merge *merge); /* its shape for the whole batch */

typedef struct fm_stats {
  int traced, executed;        /* nodes of the first trace; steps of its body and of all parts */
  double flops;                /* per batch; a multiply-add counts as two */
  double moved;                /* bytes that the steps read and write, per batch */
  size_t arena;                /* bytes per worker */
  size_t sums;                 /* bytes of the partial sums */
  size_t once;                 /* bytes of the values that the prologue computes */
  double ms_optimise, ms_plan; /* milliseconds spent preparing */
} fm_stats;
fm_stats fm_exe_stats(const fm_exe *e);
/*
** Run a job and time each step: a table of operations with FLOPs, bytes and microseconds. The
** caller frees the text with free(); NULL on failure.
*/
char *fm_exe_explain(fm_exe *e, const fm_job *job);

/* ------------------------------------------------------------------ threads */

/* Run fn(arg, 0) .. fn(arg, n-1) on the context's threads, in any order, and wait for all. Not to
** be called by fn itself. */
void fm_parallel(fm_ctx *ctx, int n, void (*fn)(void *arg, int task), void *arg);

/* ------------------------------------------------------------------ optimisers */

typedef enum fm_optim_kind { FM_RADAM, FM_ADAMW } fm_optim_kind;

#define FM_MAX_EMA 4

typedef struct fm_optim_conf {
  fm_optim_kind kind;
  double b1, b2, eps;     /* decays of the two moments, in [0, 1); offset of the denominator */
  double weight_decay;    /* AdamW: decoupled; RAdam: ignored */
  double clip;            /* bound on the global norm of the scaled gradient; 0: none */
  int nema;               /* number of averages of the weights */
  double ema[FM_MAX_EMA]; /* their decays: ema <- decay ema + (1 - decay) w, starting at w */
} fm_optim_conf;

typedef struct fm_optim fm_optim;

/*
** RAdam (Liu et al. 2020; the form of optax.radam, threshold 5) or AdamW (Loshchilov, Hutter 2019)
** for n float32 or float64 parameters that share no memory. NULL on failure (FM_EUSAGE, FM_ENOMEM).
*/
fm_optim *fm_optim_new(fm_ctx *ctx, const fm_optim_conf *conf, int n, fm_tensor *const *params);
void fm_optim_free(fm_optim *o); /* NULL is allowed */
/*
** One step in place: g <- scale * grads[i]; clip by the global norm, summed in a fixed order; then
** moments, weights and averages. Bits do not depend on the threads. `norm` (or NULL): the norm
** before clipping. FM_EUSAGE: a gradient is missing or not of its parameter's dtype and shape;
** FM_ENUMERIC: lr, scale or the norm is not finite; nothing is changed, and the sentence names the
** first parameter whose gradient is not finite.
*/
fm_err fm_optim_update(fm_optim *o, fm_tensor *const *grads, double lr, double scale, double *norm);
/*
** A state tensor of parameter i, owned by the optimiser: what = 0: first moment, 1: second moment,
** 2 + k: average k. NULL if there is no such state.
*/
fm_tensor *fm_optim_state(fm_optim *o, int what, int i);
int64_t fm_optim_steps(const fm_optim *o);
void fm_optim_set_steps(fm_optim *o, int64_t steps); /* clamped to 0..2^53 */
/* The decay of average k from the next step on. FM_EUSAGE: no such average, or not in [0, 1]. */
fm_err fm_optim_set_decay(fm_optim *o, int k, double decay);

/* ------------------------------------------------------------------ files */

typedef struct fm_named {
  const char *name;
  fm_tensor *tensor;
} fm_named;

typedef struct fm_pair {
  const char *key, *value;
} fm_pair;

/*
** Write n bytes to `path` atomically: a reader sees either the old file or the whole new one. (A
** temporary file in the same folder, fsync, rename, fsync of the folder.) With `keep`, the old file
** remains as path.prev. FM_EDATA: not writable.
*/
fm_err fm_write_file(fm_ctx *ctx, const char *path, const void *bytes, size_t n, bool keep);
/*
** Read a whole file into memory from fm_alloc: n bytes and a terminating 0, so that the caller
** frees n + 1. FM_EDATA: not readable.
*/
fm_err fm_read_file(fm_ctx *ctx, const char *path, char **bytes, size_t *n);

/*
** Write a safetensors file of float32 and float64 tensors with string metadata. It contains a
** CRC-32 of the whole file, by which reading detects truncation and any flipped byte. FM_ENUMERIC:
** a tensor is not finite; FM_EUSAGE: an invalid name, key or dtype; FM_EDATA: not writable.
*/
fm_err fm_save_safetensors(fm_ctx *ctx, const char *path, int n, const fm_named *tensors, int nmeta,
                           const fm_pair *meta, bool keep);

typedef struct fm_ckpt {
  fm_ctx *ctx;
  int n, nmeta;
  fm_named *tensors; /* names and tensors; the caller may fm_tensor_keep them */
  fm_pair *meta;
} fm_ckpt;

/*
** Read a safetensors file, also one written elsewhere, without the CRC-32. FM_EDATA: not readable,
** damaged, or a tensor of a type other than F32 and F64; *out is then empty.
*/
fm_err fm_load_safetensors(fm_ctx *ctx, const char *path, fm_ckpt *out);
void fm_ckpt_free(fm_ckpt *c);

/*
** NumPy .npy files (NEP 1). Whole numbers are read as float32, except '|u1', which is uint8.
** FM_EDATA: other types, and whole numbers beyond 2^24, up to which float32 holds all.
*/
fm_err fm_save_npy(fm_ctx *ctx, const char *path, const fm_tensor *t);
fm_err fm_load_npy(fm_ctx *ctx, const char *path, fm_tensor **out);

#endif
