/*
** limits.h - the thresholds of the compiler and of the run, and what set each of them. Where no
** measurement is mentioned, the value was chosen.
*/
#ifndef FM_LIMITS_H
#define FM_LIMITS_H

/* Visits of nodes per output in the search for linear functions of sums, and the depth of its
** recursion: longer chains of operations stay in the body. */
#define BUDGET 4096
#define DEEPEST 200

/* Summands of a sum that are looked at together. */
#define MOST_SUMMANDS 64

/* Parts of the prologue and of the epilogue; fixed, so that threads change no bits. Their work is
** balanced by the number of values computed, to which each node adds as many as this. */
#define FM_PARTS 8
#define CALL_VALUES 1e3

/* A shared value is as large as its operands if no more than this part of them is missing: gains,
** one number per row of a weight, are less. */
#define GAINS_PART 16

/* Bytes of the prologue's values beyond which the large ones are computed by every micro-batch
** instead. */
#define VALUE_BYTES ((size_t)512 << 20)

/* Above this arena size of a body, rematerialising plans are tried. They made arenas of 306
** and 175 MiB of the paper's CIFAR network 130 MiB at the same speed. */
#define LARGE_ARENA ((size_t)64 << 20)

/*
** A rematerialising plan recomputes products of at most this many operations per byte of their
** result, if that makes it smaller: attention's scores. Measured on the paper's CIFAR network: 0.5
** to 1 % of a step's time for 17 to 26 MiB of its peak of 1450 MiB.
*/
#define SCORES_FLOPS 32

/* Values per block of a fused pass: a few dozen blocks fit in the first-level cache. */
#define FM_BLOCK 512

/* Slots of a fused pass, which its tables on the stack hold, and the size from which on no group of
** nodes grows. */
#define MAX_SLOTS 256
#define MAX_PASS 240

/* Bytes of sums beyond which two micro-batches share their memory. */
#define SUM_BYTES ((size_t)128 << 20)

#endif
