/*
** faces.c - the stand-ins for CelebA and AFHQ, 64 x 64: faces of people and of animals in random
** shapes, colours, poses and light. `turn` is the pose: it shifts the features sideways and narrows
** the far side.
*/
#include "paint.h"

#include <stddef.h>

static fm_look matt(fm_rgb c) { return (fm_look){.colour = c}; }
static fm_look soft(fm_rgb c, double alpha, double blur) {
  return (fm_look){.colour = c, .alpha = alpha, .blur = blur};
}
static fm_look solid(fm_rgb c) { return (fm_look){.colour = c, .round = 0.9}; }

static const fm_rgb white = {1, 1, 1}, black = {0.04, 0.03, 0.04};

/* ------------------------------------------------------------------ people */

typedef struct person {
  fm_rgb skin, hair, iris, lips;
  double turn, jaw, width, eye, smile;
  int style; /* of the hair: 0 short, 1 long, 2 bald, 3 fringe, 4 big */
} person;

static person someone(fm_paint *p) {
  person o;
  const double tone = fm_pick(p, 0, 1);
  o.skin = fm_mix_rgb((fm_rgb){0.98, 0.82, 0.72}, (fm_rgb){0.36, 0.22, 0.15}, tone);
  o.skin = fm_vary(p, o.skin, 0.05);
  switch (fm_choose(p, 5)) {
  case 0: o.hair = (fm_rgb){0.1, 0.08, 0.07}; break;
  case 1: o.hair = (fm_rgb){0.32, 0.19, 0.1}; break;
  case 2: o.hair = (fm_rgb){0.82, 0.65, 0.36}; break;
  case 3: o.hair = (fm_rgb){0.58, 0.24, 0.1}; break;
  default: o.hair = fm_lit((fm_rgb){0.8, 0.8, 0.8}, fm_pick(p, 0.6, 1.1)); break;
  }
  o.hair = fm_vary(p, o.hair, 0.15);
  o.iris = fm_hsv(fm_pick(p, 0.05, 0.62), fm_pick(p, 0.3, 0.7), fm_pick(p, 0.25, 0.6));
  o.lips = fm_mix_rgb(o.skin, (fm_rgb){0.75, 0.15, 0.2}, fm_pick(p, 0.25, 0.75));
  o.turn = fm_pick(p, -0.14, 0.14);
  o.jaw = fm_pick(p, 0.62, 0.74);
  o.width = fm_pick(p, 0.48, 0.57);
  o.eye = fm_pick(p, 0.085, 0.115);
  o.smile = fm_pick(p, -0.02, 0.1);
  o.style = fm_choose(p, 5);
  return o;
}

static void behind(fm_paint *p, const person *o) {
  const fm_rgb cloth = fm_hsv(fm_pick(p, 0, 1), fm_pick(p, 0.1, 0.8), fm_pick(p, 0.15, 0.9));
  if (o->style == 1) fm_ellipse(p, 0, 0.2, 0.74, 1.0, 0, solid(fm_lit(o->hair, 0.8)));
  if (o->style == 4) fm_ellipse(p, 0, -0.3, 0.82, 0.72, 0, solid(fm_lit(o->hair, 0.9)));
  fm_ellipse(p, 0, 1.55, 1.15, 0.75, 0, solid(cloth));
  fm_box(p, 0, 0.75, 0.24, 0.35, 0.1, solid(fm_lit(o->skin, 0.85)));
  fm_ellipse(p, 0, 1.05, 0.3, 0.16, 0, solid(fm_lit(o->skin, 0.92)));
}

static void head(fm_paint *p, const person *o) {
  const double w = o->width;
  for (int k = -1; k <= 1; k += 2)
    fm_ellipse(p, k * w * 0.98 - 0.5 * o->turn, 0.06, 0.1, 0.16, 0, solid(fm_lit(o->skin, 0.9)));
  if (o->style != 2) fm_ellipse(p, 0, -0.22, w + 0.1, 0.68, 0, solid(o->hair));
  fm_ellipse(p, 0, -0.12, w, 0.62, 0, solid(o->skin));
  fm_ellipse(p, 0.3 * o->turn, 0.12, w * 0.94, o->jaw, 0, solid(o->skin));
  for (int k = -1; k <= 1; k += 2) /* cheeks */
    fm_ellipse(p, o->turn + 0.28 * k, 0.25, 0.16, 0.12, 0,
               soft(fm_mix_rgb(o->skin, (fm_rgb){0.9, 0.35, 0.3}, 0.5), 0.3, 0.2));
}

static void eyes(fm_paint *p, const person *o) {
  const double look = fm_pick(p, -0.02, 0.02), lid = fm_pick(p, 0.55, 0.8), y = -0.02;
  const fm_rgb brow = fm_mix_rgb(fm_lit(o->hair, 0.6), fm_lit(o->skin, 0.5), 0.3);
  const double up = fm_pick(p, -0.03, 0.03), thick = fm_pick(p, 0.018, 0.04);
  for (int k = -1; k <= 1; k += 2) {
    const double x = o->turn + 0.23 * k * (1 - 0.5 * k * o->turn), r = o->eye;
    fm_ellipse(p, x, y - 0.01, r * 1.35, r * 1.1, 0, soft(fm_lit(o->skin, 0.6), 0.45, 0.08));
    fm_ellipse(p, x, y, r, r * lid, 0, matt((fm_rgb){0.95, 0.95, 0.94}));
    fm_ellipse(p, x + look, y, r * 0.55, r * 0.58, 0, matt(o->iris));
    fm_ellipse(p, x + look, y, r * 0.27, r * 0.28, 0, matt(black));
    fm_ellipse(p, x + look - 0.02, y - 0.025, 0.016, 0.016, 0, matt(white));
    fm_curve(p, x - r, y - 0.01, x, y - r * lid * 1.7, x + r, y - 0.01, 0.014,
             matt(fm_lit(o->skin, 0.3)));
    fm_curve(p, x - 0.13, -0.16 - up * k, x, -0.22, x + 0.13, -0.16 + up * k, thick,
             soft(brow, 0.85, 0.02));
  }
}

static void nose_and_mouth(fm_paint *p, const person *o) {
  const double x = 1.3 * o->turn, w = fm_pick(p, 0.07, 0.11), m = fm_pick(p, 0.15, 0.23), y = 0.46;
  fm_ellipse(p, x, 0.2, w, 0.1, 0, soft(fm_lit(o->skin, 0.62), 0.5, 0.08));
  fm_stroke(p, o->turn, 0, x, 0.17, 0.035, soft(fm_lit(o->skin, 1.18), 0.45, 0.05));
  fm_ellipse(p, x, 0.17, 0.055, 0.05, 0, solid(fm_lit(o->skin, 1.05)));
  const double mx = 1.05 * o->turn;
  if (o->smile > 0.04 && fm_maybe(p, 0.6)) {
    fm_ellipse(p, mx, y, m, 0.075, 0, matt(fm_lit(o->lips, 0.75)));
    fm_ellipse(p, mx, y - 0.015, m * 0.85, 0.045, 0, matt((fm_rgb){0.96, 0.95, 0.92}));
  } else {
    const double bend = y + 2 * o->smile;
    fm_curve(p, mx - m, y - 0.01, mx, bend + 0.04, mx + m, y - 0.01, 0.04, matt(o->lips));
    fm_curve(p, mx - m, y - 0.01, mx, bend, mx + m, y - 0.01, 0.013, matt(fm_lit(o->lips, 0.5)));
  }
}

static void front(fm_paint *p, const person *o) {
  const double w = o->width, part = fm_pick(p, -0.3, 0.3);
  if (o->style == 3)
    fm_ellipse(p, 0, -0.55, w * 0.98, 0.3, 0, solid(o->hair));
  else if (o->style != 2)
    for (int k = -1; k <= 1; k += 2)
      fm_ellipse(p, part + 0.33 * k, -0.62, 0.4, fm_pick(p, 0.18, 0.28), 0.3 * k, solid(o->hair));
  if (o->style == 1)
    for (int k = -1; k <= 1; k += 2)
      fm_ellipse(p, k * (w + 0.05), 0.15, 0.12, 0.72, 0.04 * k, solid(o->hair));
  if (fm_maybe(p, 0.15)) { /* a beard */
    fm_curve(p, o->turn - 0.4, 0.4, o->turn, 1.0, o->turn + 0.4, 0.4, 0.09,
             soft(fm_lit(o->hair, 0.8), 0.8, 0.06));
    fm_curve(p, o->turn - 0.2, 0.39, o->turn, 0.31, o->turn + 0.2, 0.39, 0.035,
             soft(o->hair, 0.8, 0.04));
  }
  if (fm_maybe(p, 0.15)) { /* glasses */
    const fm_look frame = matt(fm_hsv(fm_pick(p, 0, 1), 0.5, 0.25));
    for (int k = -1; k <= 1; k += 2) fm_ring(p, o->turn + 0.23 * k, -0.01, 0.165, 0.016, frame);
    fm_stroke(p, o->turn - 0.07, -0.02, o->turn + 0.07, -0.02, 0.014, frame);
  }
}

void fm_draw_face(fm_paint *p) {
  fm_scene(p);
  fm_frame(p, fm_pick(p, -0.06, 0.06), fm_pick(p, -0.02, 0.1), fm_pick(p, -0.13, 0.13),
           fm_pick(p, 0.78, 0.92));
  const person o = someone(p);
  behind(p, &o);
  head(p, &o);
  nose_and_mouth(p, &o);
  eyes(p, &o);
  front(p, &o);
}

/* ------------------------------------------------------------------ animals */

typedef struct animal {
  fm_rgb fur, pale, dark, iris;
  double turn, width, eye;
  int kind; /* 0 cat, 1 dog, 2 wild */
} animal;

static animal some_animal(fm_paint *p, int kind) {
  static const fm_rgb furs[3][4] = {
      {{0.85, 0.55, 0.28}, {0.5, 0.48, 0.46}, {0.18, 0.17, 0.18}, {0.88, 0.84, 0.78}},
      {{0.66, 0.45, 0.26}, {0.85, 0.72, 0.5}, {0.2, 0.15, 0.12}, {0.9, 0.88, 0.85}},
      {{0.87, 0.45, 0.15}, {0.83, 0.62, 0.32}, {0.56, 0.54, 0.52}, {0.72, 0.5, 0.25}}};
  animal a = {.kind = kind};
  a.fur = fm_vary(p, furs[kind][fm_choose(p, 4)], 0.12);
  a.pale = fm_mix_rgb(a.fur, white, fm_pick(p, 0.4, 0.85));
  a.dark = fm_lit(a.fur, fm_pick(p, 0.25, 0.5));
  a.iris = kind == 1 ? fm_hsv(0.07, 0.7, fm_pick(p, 0.2, 0.45))
                     : fm_hsv(fm_pick(p, 0.1, kind ? 0.16 : 0.55), 0.6, fm_pick(p, 0.6, 0.9));
  a.turn = fm_pick(p, -0.14, 0.14);
  a.width = fm_pick(p, 0.58, 0.7);
  a.eye = kind == 1 ? fm_pick(p, 0.085, 0.11) : fm_pick(p, 0.1, 0.14);
  return a;
}

static void ears(fm_paint *p, const animal *a) {
  const double w = a->width, tip = fm_pick(p, 0.85, 1.0), spread = fm_pick(p, 0.5, 0.7);
  const fm_rgb pink = fm_mix_rgb(a->pale, (fm_rgb){0.85, 0.5, 0.5}, 0.5);
  const bool hang = a->kind == 1 && fm_maybe(p, 0.7);
  if (hang) return; /* hanging ears are drawn after the head */
  for (int k = -1; k <= 1; k += 2) {
    const double x = k * spread, in = k * 0.12;
    for (int inner = 0; inner < 2; inner++) {
      const double s = inner ? 0.55 : 1, cx = k * 0.45 * w / 0.6, cy = -0.45;
      const double tx = cx + s * (x - cx), ty = cy + s * (-tip - cy);
      const double ax = cx + s * (k * w - cx), ay = cy + s * (-0.1 - cy);
      const double bx = cx + s * (in - cx), by = cy + s * (-0.5 - cy);
      const fm_look look = matt(inner ? pink : fm_lit(a->fur, 0.85));
      if (k > 0)
        fm_polygon(p, 3, (double[][2]){{tx, ty}, {ax, ay}, {bx, by}}, look);
      else
        fm_polygon(p, 3, (double[][2]){{tx, ty}, {bx, by}, {ax, ay}}, look);
    }
  }
}

static void stripes(fm_paint *p, const animal *a) {
  const fm_look dark = soft(a->dark, 0.7, 0.05);
  for (int k = -1; k <= 1; k++)
    fm_stroke(p, 0.16 * k + 0.5 * a->turn, -0.62, 0.11 * k + a->turn, -0.36, 0.035, dark);
  for (int k = -1; k <= 1; k += 2)
    for (int j = 0; j < 3; j++)
      fm_stroke(p, k * a->width * 0.95, 0.02 + 0.17 * j, k * a->width * 0.62, 0.1 + 0.13 * j, 0.03,
                dark);
}

static void muzzle(fm_paint *p, const animal *a) {
  const double x = 1.4 * a->turn, dog = a->kind == 1 ? 1 : 0;
  const double r = a->kind == 0 ? 0.2 : 0.25, y = 0.32 + 0.06 * dog;
  const fm_rgb nose =
      a->kind == 0 && fm_maybe(p, 0.6) ? (fm_rgb){0.8, 0.45, 0.45} : (fm_rgb){0.1, 0.08, 0.08};
  fm_ellipse(p, x, y + 0.14, r * 0.8, 0.2, 0, solid(fm_lit(a->pale, 0.9)));
  for (int k = -1; k <= 1; k += 2)
    fm_ellipse(p, x + 0.75 * r * k, y + 0.06, r, r * 0.85, 0, solid(a->pale));
  if (a->kind > 0)
    fm_ellipse(p, 0.5 * (x + a->turn), 0.08, 0.16, 0.34, 0, solid(fm_lit(a->pale, 0.97)));
  if (dog > 0 && fm_maybe(p, 0.35)) /* a tongue */
    fm_ellipse(p, x, y + 0.36, 0.1, 0.16, 0, solid((fm_rgb){0.9, 0.45, 0.5}));
  const fm_look line = soft(fm_lit(a->dark, 0.5), 0.9, 0.02);
  fm_stroke(p, x, y - 0.02, x, y + 0.12, 0.015, line);
  fm_curve(p, x, y + 0.12, x + 0.08, y + 0.22, x + 0.2, y + 0.13, 0.016, line);
  fm_curve(p, x, y + 0.12, x - 0.08, y + 0.22, x - 0.2, y + 0.13, 0.016, line);
  fm_ellipse(p, x, y - 0.07, 0.075 + 0.04 * dog + (a->kind == 2 ? 0.03 : 0), 0.055 + 0.025 * dog, 0,
             (fm_look){.colour = nose, .round = 1, .gloss = 0.5});
  if (a->kind == 0)
    for (int k = -1; k <= 1; k += 2)
      for (int j = -1; j <= 1; j++)
        fm_stroke(p, x + 0.24 * k, y + 0.06 + 0.04 * j, x + 0.8 * k, y + 0.02 + 0.13 * j, 0.007,
                  soft(white, 0.6, 0));
}

static void animal_eyes(fm_paint *p, const animal *a) {
  const double gap = a->kind == 0 ? 0.29 : 0.27, slit = a->kind == 1 ? 0.5 : fm_pick(p, 0.15, 0.6);
  const double look = fm_pick(p, -0.02, 0.02);
  for (int k = -1; k <= 1; k += 2) {
    const double x = a->turn + gap * k, y = -0.08, r = a->eye;
    fm_ellipse(p, x, y, r * 1.3, r * 1.12, 0.25 * k, matt(fm_lit(a->dark, 0.4)));
    fm_ellipse(p, x, y, r * 1.05, r * 0.92, 0.2 * k, matt(a->iris));
    fm_ellipse(p, x + look, y, r * slit, r * 0.75, 0, matt(black));
    fm_ellipse(p, x - 0.03, y - 0.04, 0.026, 0.026, 0, matt(white));
  }
}

void fm_draw_animal(fm_paint *p, int kind) {
  fm_scene(p);
  fm_frame(p, fm_pick(p, -0.06, 0.06), fm_pick(p, 0.02, 0.14), fm_pick(p, -0.15, 0.15),
           fm_pick(p, 0.8, 0.95));
  const animal a = some_animal(p, kind);
  const bool mane = kind == 2 && fm_maybe(p, 0.3), mask = fm_maybe(p, 0.4);
  fm_ellipse(p, 0, 1.25, 0.85, 0.85, 0, solid(fm_lit(a.fur, 0.8)));
  fm_ellipse(p, 0, 1.1, 0.4, 0.5, 0, solid(fm_lit(a.pale, 0.85)));
  if (mane)
    fm_ellipse(p, 0, 0.05, 1.0, 1.0, 0, (fm_look){.colour = a.dark, .round = 0.6, .blur = 0.15});
  ears(p, &a);
  fm_ellipse(p, 0, 0.02, a.width, 0.62, 0, solid(a.fur));
  fm_ellipse(p, 0.5 * a.turn, 0.22, a.width * 0.86, 0.5, 0, solid(a.fur));
  if (mask) fm_ellipse(p, a.turn, 0.3, a.width * 0.7, 0.4, 0, soft(a.pale, 0.8, 0.15));
  if (kind == 1)
    for (int k = -1; k <= 1; k += 2) /* hanging ears */
      if (!mask || fm_maybe(p, 0.8))
        fm_ellipse(p, k * (a.width + 0.02), 0.1, 0.2, 0.5, 0.2 * k, solid(fm_lit(a.fur, 0.75)));
  if (kind != 1 && !mane && fm_maybe(p, 0.6)) stripes(p, &a);
  if (kind == 1 && fm_maybe(p, 0.3)) /* a patch over one eye */
    fm_ellipse(p, a.turn + 0.28, -0.1, 0.26, 0.28, 0.3, soft(a.dark, 0.9, 0.05));
  muzzle(p, &a);
  animal_eyes(p, &a);
}
