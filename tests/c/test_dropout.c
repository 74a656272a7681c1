/*
** test_dropout.c - dropout masks: the keep rate; independence of seeds, steps, streams, samples and
** positions; their bits against Philox itself, however a batch is split.
*/
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>

#include "kernels/isa.h"
#include "op_names.h"
#include "numeric.h"

/* The mask (rows, n) of a program run in micro-batches of `micro` rows. */
static fm_tensor *mask(fm_dtype dtype, int64_t rows, int64_t n, double rate, uint64_t seed,
                       uint32_t step, int64_t stream, int64_t micro) {
  fm_prog *progs[2];
  int which[64], count = 0;
  int64_t row0[65] = {0};
  while (row0[count] < rows) {
    which[count] = rows - row0[count] < micro;
    row0[count + 1] = which[count] ? rows : row0[count] + micro;
    count++;
  }
  const int64_t sizes[2] = {micro < rows ? micro : rows, rows - row0[count - 1]};
  for (int k = 0; k < 2; k++) {
    progs[k] = fm_prog_new(ctx);
    fm_attr a = {{2, sizes[k], n, 0, 0, 0, 0, stream}, {rate, dtype == FM_F64}};
    fm_output(progs[k], fm_emit(progs[k], &fm_op_dropout, 0, NULL, &a), FM_STACK);
  }
  fm_exe *e = fm_exe_new(ctx, 2, progs, &(fm_micro_batches){count, which, row0}, FM_PASS_ALL);
  if (e == NULL) fail_msg("%s", fm_error(ctx));
  fm_tensor *y = zeros(dtype, SHAPE(2, rows, n));
  fm_job job = {seed, step, NULL, &y};
  if (fm_exe_run(e, &job) != FM_OK) fail_msg("%s", fm_error(ctx));
  fm_exe_free(e);
  fm_prog_free(progs[0]);
  fm_prog_free(progs[1]);
  return y;
}

/* Values are 0 or 1 / (1 - rate); their mean is 1 within 5 standard deviations. */
static void test_rate(void **state) {
  (void)state;
  static const double rates[] = {0, 0.13, 0.5, 0.75, 0.99};
  const int64_t rows = 50, n = 2000;
  for (size_t k = 0; k < sizeof rates / sizeof *rates; k++) {
    fm_tensor *y = mask(FM_F64, rows, n, rates[k], 3, 1, 7, 50);
    double kept = 0;
    for (int64_t i = 0; i < rows * n; i++) {
      const double v = fm_tensor_get(y, i);
      kept += v != 0;
      if (v != 0) assert_within(fabs(v * (1 - rates[k]) - 1), 1e-3, "value", (int)k);
    }
    const double many = (double)(rows * n), want = (1 - rates[k]) * many;
    assert_within(fabs(kept - want), 5 * sqrt(want * rates[k]) + 1e-9, "kept", (int)k);
    fm_tensor_drop(y);
  }
}

/* The correlation of two masks, or of one with itself `shift` values on, in standard deviations. */
static double correlation(const fm_tensor *a, const fm_tensor *b, int64_t shift) {
  const int64_t n = fm_shape_count(&a->shape) - shift;
  double sum = 0; /* values are 0 or 2: mean 1, variance 1 */
  for (int64_t i = 0; i < n; i++)
    sum += (fm_tensor_get(a, i) - 1) * (fm_tensor_get(b, i + shift) - 1);
  return fabs(sum) / sqrt((double)n);
}

static void test_independence(void **state) {
  (void)state;
  const int64_t rows = 64, n = 1500;
  fm_tensor *y[4] = {
      mask(FM_F32, rows, n, 0.5, 3, 1, 7, 64), mask(FM_F32, rows, n, 0.5, 4, 1, 7, 64),
      mask(FM_F32, rows, n, 0.5, 3, 2, 7, 64), mask(FM_F32, rows, n, 0.5, 3, 1, 8, 64)};
  for (int i = 0; i < 4; i++)
    for (int j = 0; j < i; j++) assert_within(correlation(y[i], y[j], 0), 5, "masks", 4 * i + j);
  /* halves of a word, blocks, words of a block, groups, samples */
  static const int64_t shifts[] = {1, 2, 4, 64, 128, 192, 256, 1500, 3000};
  for (size_t k = 0; k < sizeof shifts / sizeof *shifts; k++)
    assert_within(correlation(y[0], y[0], shifts[k]), 5, "places", (int)shifts[k]);
  drop_all(4, y);
}

/* The 16 bits of value i of a sample, from the definition in dropout.c. */
static uint32_t bits(uint64_t seed, uint32_t step, uint32_t stream, int64_t row, int64_t i) {
  const uint32_t group = (uint32_t)(i / 256), word = (uint32_t)(i % 256 / 64);
  const uint32_t block = (uint32_t)(i % 64 / 2), low_first = (uint32_t)(i % 2);
  const uint32_t counter[4] = {group * 32 + block, (uint32_t)row, step, stream};
  const uint32_t key[2] = {(uint32_t)seed, (uint32_t)(seed >> 32)};
  uint32_t out[4];
  fm_philox(counter, key, out);
  return out[word] >> 16 * low_first & 0xFFFF;
}

static void test_bits(void **state) {
  (void)state;
  const int was = fm_isa();
  for (int isa = 0; isa < FM_NISA && fm_set_isa(isa) == isa; isa++)
    for (int d = 0; d < 2; d++) {
      const uint64_t seed = 0x123456789abcdefu;
      fm_tensor *y = mask((fm_dtype)d, 5, 300, 0.25, seed, 9, 0xfedcba98, 5);
      for (int64_t i = 0; i < 1500; i++) {
        const bool kept = bits(seed, 9, 0xfedcba98, i / 300, i % 300) >= 16384;
        assert_true((fm_tensor_get(y, i) != 0) == kept);
      }
      fm_tensor_drop(y);
    }
  fm_set_isa(was);
}

/* The mask does not depend on how the batch is split; a shorter row is a prefix of a longer one. */
static void test_cuts(void **state) {
  (void)state;
  static const int64_t widths[] = {1, 255, 256, 257, 300};
  fm_tensor *longest = mask(FM_F32, 23, 300, 0.3, 3, 1, 7, 23);
  for (int w = 0; w < 5; w++)
    for (int64_t micro = 1; micro <= 24; micro += 5) {
      fm_tensor *y = mask(FM_F32, 23, widths[w], 0.3, 3, 1, 7, micro);
      for (int64_t i = 0; i < 23 * widths[w]; i++)
        assert_true(fm_tensor_get(y, i) ==
                    fm_tensor_get(longest, i / widths[w] * 300 + i % widths[w]));
      fm_tensor_drop(y);
    }
  fm_tensor_drop(longest);
}

static void test_bad_rate(void **state) {
  (void)state;
  static const double rates[] = {-0.1, 1, NAN};
  for (int k = 0; k < 3; k++) {
    fm_sig out;
    fm_attr a = {{1, 4}, {rates[k], 0}};
    assert_int_equal(fm_infer(ctx, &fm_op_dropout, 0, NULL, &a, &out), FM_EUSAGE);
    assert_sentence(FM_EUSAGE, "expected 0 <= rate < 1");
  }
}

int main(void) {
  const struct CMUnitTest tests[] = {TEST(test_rate), TEST(test_independence), TEST(test_bits),
                                     TEST(test_cuts), TEST(test_bad_rate)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}
