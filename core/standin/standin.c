/* standin.c - drawing the images of a stand-in data set in parallel and writing them to a pack. */
#include "standin.h"

#include "paint.h"

static const char *const animal_names[3] = {"cat", "dog", "wild"};

int fm_standin_side(fm_standin kind) { return kind == FM_OBJECTS ? 32 : 64; }

const char *const *fm_standin_classes(fm_standin kind, int *n) {
  *n = kind == FM_OBJECTS ? 10 : kind == FM_ANIMALS ? 3 : 0;
  return kind == FM_OBJECTS ? fm_object_names : kind == FM_ANIMALS ? animal_names : NULL;
}

typedef struct job {
  fm_standin kind;
  uint64_t seed;
  int64_t at, n;
  int side, classes;
  uint8_t *pixels, *labels;
} job;

enum { TASKS = 64 };

static void draw(void *arg, int task) {
  const job *j = arg;
  fm_paint p;
  for (int64_t k = task; k < j->n; k += TASKS) {
    const int64_t image = j->at + k;
    const int label = j->classes ? (int)(image % j->classes) : 0;
    fm_paint_start(&p, j->side, j->seed + (uint64_t)j->kind, (uint32_t)image);
    if (j->kind == FM_OBJECTS) fm_draw_object(&p, label);
    if (j->kind == FM_FACES) fm_draw_face(&p);
    if (j->kind == FM_ANIMALS) fm_draw_animal(&p, label);
    fm_paint_end(&p, j->pixels + k * j->side * j->side * 3);
    j->labels[k] = (uint8_t)label;
  }
}

fm_err fm_standin_draw(fm_pack *p, fm_standin kind, uint64_t seed, int64_t at, int64_t n) {
  fm_ctx *ctx = p->out.ctx;
  job j = {.kind = kind, .seed = seed, .at = at, .n = n, .side = fm_standin_side(kind)};
  fm_standin_classes(kind, &j.classes);
  const fm_pack_info *i = &p->info;
  if (i->height != j.side || i->width != j.side || i->channels != 3 || i->classes != j.classes)
    return fm_fail(ctx, FM_EUSAGE,
                   "stand-in: a pack of %lld x %lld x %lld with %lld classes found, expected "
                   "%d x %d x 3 with %d",
                   (long long)i->height, (long long)i->width, (long long)i->channels,
                   (long long)i->classes, j.side, j.side, j.classes);
  if (at < 0 || n < 0 || n > i->count || at > i->count - n)
    return fm_fail(ctx, FM_EUSAGE,
                   "stand-in: %lld images from %lld on found, but there are only %lld",
                   (long long)n, (long long)at, (long long)i->count);
  const size_t bytes = (size_t)(n * j.side * j.side * 3);
  j.pixels = fm_alloc(ctx, bytes);
  j.labels = j.pixels ? fm_alloc(ctx, (size_t)n) : NULL;
  fm_err err = j.labels ? FM_OK : FM_ENOMEM;
  if (!err) fm_parallel(ctx, TASKS, draw, &j);
  if (!err) err = fm_pack_put(p, at, n, j.pixels, j.labels);
  if (j.labels) fm_free(ctx, j.labels, (size_t)n);
  if (j.pixels) fm_free(ctx, j.pixels, bytes);
  return err;
}
