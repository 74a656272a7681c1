/*
** objects.c - the stand-in for CIFAR-10, 32 x 32: ten kinds of objects in random colours, light,
** position, size and pose on random backgrounds.
*/
#include "paint.h"

#include <math.h>
#include <stddef.h>

const char *const fm_object_names[10] = {"ball", "block", "bottle", "ring", "star",
                                         "tree", "house", "car",    "boat", "flower"};

static fm_rgb paint(fm_paint *p) {
  return fm_hsv(fm_pick(p, 0, 1), fm_pick(p, 0.45, 0.95), fm_pick(p, 0.55, 1));
}

static fm_look matt(fm_rgb c) { return (fm_look){.colour = c}; }
static fm_look solid(fm_rgb c) { return (fm_look){.colour = c, .round = 1}; }

static void shadow(fm_paint *p, double x, double y, double rx, double ry) {
  fm_ellipse(p, x, y, rx, ry, 0, (fm_look){.colour = {0, 0, 0}, .alpha = 0.35, .blur = 0.25});
}

static void ball(fm_paint *p) {
  const fm_rgb c = paint(p);
  shadow(p, -0.25 * p->light[0], 0.72, 0.62, 0.16);
  fm_ellipse(p, 0, 0, 0.7, 0.7, 0, (fm_look){.colour = c, .round = 1, .gloss = 0.7});
  if (fm_maybe(p, 0.4))
    fm_ellipse(p, 0, fm_pick(p, -0.2, 0.2), 0.69, fm_pick(p, 0.1, 0.2), 0,
               (fm_look){.colour = paint(p), .round = 0.6, .gloss = 0.3});
}

/* Three faces of a block, seen from above: the left, the right, the top. */
static void block(fm_paint *p) {
  const fm_rgb c = paint(p);
  const double w = fm_pick(p, 0.45, 0.6), h = fm_pick(p, 0.45, 0.75), k = fm_pick(p, 0.15, 0.3);
  const double m = fm_pick(p, -0.3, 0.3), left = p->light[0] < 0 ? 0.95 : 0.55;
  const double top = -0.5 * h, low = top + h;
  shadow(p, 0, low + k, 0.8, 0.2);
  fm_polygon(p, 4, (double[][2]){{-w, top}, {m, top + k}, {m, low + k}, {-w, low}},
             matt(fm_lit(c, left)));
  fm_polygon(p, 4, (double[][2]){{m, top + k}, {w, top}, {w, low}, {m, low + k}},
             matt(fm_lit(c, 1.5 - left)));
  fm_polygon(p, 4, (double[][2]){{-w, top}, {-m, top - k}, {w, top}, {m, top + k}},
             matt(fm_mix_rgb(c, (fm_rgb){1, 1, 1}, 0.3)));
}

static void bottle(fm_paint *p) {
  const fm_rgb c = paint(p);
  const fm_look glass = {.colour = c, .round = 1, .gloss = 0.6};
  const double w = fm_pick(p, 0.22, 0.36), neck = fm_pick(p, 0.08, 0.13);
  shadow(p, 0, 0.84, w + 0.2, 0.12);
  fm_box(p, 0, -0.5, neck, 0.35, 0.03, glass);
  fm_ellipse(p, 0, -0.12, w, 0.25, 0, glass);
  fm_box(p, 0, 0.36, w, 0.48, 0.08, glass);
  fm_box(p, 0, 0.38, w, fm_pick(p, 0.12, 0.24), 0.02,
         solid(fm_mix_rgb(paint(p), (fm_rgb){1, 1, 1}, 0.5)));
  fm_box(p, 0, -0.84, neck + 0.04, 0.07, 0.03, solid(paint(p)));
}

static void ring(fm_paint *p) {
  const double r = fm_pick(p, 0.45, 0.55), thick = fm_pick(p, 0.12, 0.28);
  shadow(p, 0, 0.78, 0.6, 0.12);
  fm_ring(p, 0, 0, r, thick, (fm_look){.colour = paint(p), .round = 1, .gloss = 0.8});
}

static void star(fm_paint *p) {
  /* The corners of a regular pentagon, clockwise from the top. */
  static const double corner[5][2] = {{0, -1},
                                      {0.9510565, -0.3090170},
                                      {0.5877853, 0.8090170},
                                      {-0.5877853, 0.8090170},
                                      {-0.9510565, -0.3090170}};
  const fm_rgb c = paint(p);
  const double thin = fm_pick(p, 0.34, 0.46), size = 0.85;
  for (int k = 0; k < 5; k++) { /* ten facets, alternately light and dark */
    const double *a = corner[k], *b = corner[(k + 3) % 5], *d = corner[(k + 2) % 5];
    const double tip[2] = {size * a[0], size * a[1]};
    /* The notches beside a tip are opposite the corners three and two further on. */
    fm_polygon(p, 3,
               (double[][2]){{tip[0], tip[1]}, {-thin * size * b[0], -thin * size * b[1]}, {0, 0}},
               matt(c));
    fm_polygon(p, 3,
               (double[][2]){{tip[0], tip[1]}, {0, 0}, {-thin * size * d[0], -thin * size * d[1]}},
               matt(fm_lit(c, 0.68)));
  }
}

static void tree(fm_paint *p) {
  const fm_rgb leaf = fm_hsv(fm_pick(p, 0.08, 0.42), fm_pick(p, 0.4, 0.8), fm_pick(p, 0.35, 0.8));
  shadow(p, 0, 0.88, 0.5, 0.1);
  fm_box(p, 0, 0.55, fm_pick(p, 0.06, 0.12), 0.35, 0.02,
         solid(fm_hsv(0.07, 0.5, fm_pick(p, 0.25, 0.5))));
  if (fm_maybe(p, 0.45)) { /* a fir */
    for (int k = 2; k >= 0; k--) {
      const double top = -0.95 + 0.32 * k, w = 0.32 + 0.16 * k;
      fm_polygon(p, 3, (double[][2]){{0, top}, {w, top + 0.62}, {-w, top + 0.62}},
                 matt(fm_lit(leaf, 1.1 - 0.15 * k)));
    }
    return;
  }
  for (int k = 0; k < 7; k++)
    fm_ellipse(p, fm_pick(p, -0.4, 0.4), fm_pick(p, -0.65, 0.1), fm_pick(p, 0.25, 0.45),
               fm_pick(p, 0.22, 0.4), 0, solid(fm_vary(p, leaf, 0.12)));
}

static void house(fm_paint *p) {
  const fm_rgb wall = fm_mix_rgb(paint(p), (fm_rgb){0.95, 0.92, 0.85}, 0.6), roof = paint(p);
  const fm_rgb pane = fm_maybe(p, 0.3) ? (fm_rgb){1, 0.9, 0.5} : (fm_rgb){0.25, 0.35, 0.5};
  const double w = fm_pick(p, 0.5, 0.7), top = fm_pick(p, -0.2, 0.05), e = fm_pick(p, 0.05, 0.15);
  const double ridge = top - fm_pick(p, 0.4, 0.65);
  shadow(p, 0, 0.82, w + 0.2, 0.1);
  if (fm_maybe(p, 0.6)) fm_box(p, 0.5 * w, ridge + 0.25, 0.08, 0.25, 0, matt(fm_lit(roof, 0.6)));
  fm_box(p, 0, (top + 0.8) / 2, w, (0.8 - top) / 2, 0, (fm_look){.colour = wall, .round = 0.5});
  fm_polygon(p, 3, (double[][2]){{0, ridge}, {w + e, top}, {-w - e, top}}, matt(roof));
  const double door = fm_pick(p, -0.3, 0.3) * w;
  fm_box(p, door, 0.58, 0.12, 0.22, 0, matt(fm_lit(roof, 0.5)));
  for (int k = -1; k <= 1; k++)
    if (fabs(0.62 * k * w - door) > 0.22)
      fm_box(p, 0.62 * k * w, top + 0.28, 0.11, 0.12, 0, matt(pane));
}

static void car(fm_paint *p) {
  const fm_rgb c = paint(p);
  const fm_look body = {.colour = c, .round = 0.5, .gloss = 0.2};
  const double face = fm_maybe(p, 0.5) ? 1 : -1, cab = fm_pick(p, 0.35, 0.5);
  const double tall = fm_pick(p, 0.3, 0.5), x = 0.12 * face;
  shadow(p, 0, 0.52, 0.95, 0.14);
  fm_polygon(p, 4,
             (double[][2]){{x - cab + 0.15, -tall},
                           {x + cab - 0.15, -tall},
                           {x + cab + 0.12, 0.05},
                           {x - cab - 0.12, 0.05}},
             matt(fm_lit(c, 0.9)));
  fm_polygon(p, 4,
             (double[][2]){{x - cab + 0.2, 0.08 - tall},
                           {x + cab - 0.2, 0.08 - tall},
                           {x + cab, 0.02},
                           {x - cab, 0.02}},
             matt((fm_rgb){0.2, 0.28, 0.36}));
  fm_box(p, x, -0.15, 0.035, tall - 0.17, 0, matt(fm_lit(c, 0.9)));
  fm_box(p, 0, 0.2, 0.92, 0.22, 0.1, body);
  fm_box(p, 0.86 * face, 0.16, 0.06, 0.06, 0.03, matt((fm_rgb){1, 0.95, 0.7}));
  fm_box(p, -0.88 * face, 0.16, 0.04, 0.06, 0.02, matt((fm_rgb){0.8, 0.1, 0.1}));
  for (int k = -1; k <= 1; k += 2) {
    fm_ellipse(p, 0.52 * k, 0.4, 0.2, 0.2, 0, matt((fm_rgb){0.08, 0.08, 0.09}));
    fm_ellipse(p, 0.52 * k, 0.4, 0.09, 0.09, 0, solid((fm_rgb){0.75, 0.75, 0.78}));
  }
}

static void boat(fm_paint *p) {
  const double face = fm_maybe(p, 0.5) ? 1 : -1, mast = fm_pick(p, -0.9, -0.7);
  const fm_rgb sea = fm_hsv(fm_pick(p, 0.48, 0.62), fm_pick(p, 0.4, 0.8), fm_pick(p, 0.3, 0.7));
  const fm_rgb sail = fm_mix_rgb(paint(p), (fm_rgb){1, 1, 1}, fm_pick(p, 0.3, 0.95));
  fm_stroke(p, 0, 0.3, 0, mast, 0.035, solid((fm_rgb){0.4, 0.3, 0.2}));
  if (face > 0) {
    fm_polygon(p, 3, (double[][2]){{0.06, mast}, {0.65, 0.2}, {0.06, 0.2}}, matt(sail));
    fm_polygon(p, 3, (double[][2]){{-0.06, mast + 0.15}, {-0.06, 0.2}, {-0.5, 0.2}},
               matt(fm_lit(sail, 0.8)));
  } else {
    fm_polygon(p, 3, (double[][2]){{-0.06, mast}, {-0.06, 0.2}, {-0.65, 0.2}}, matt(sail));
    fm_polygon(p, 3, (double[][2]){{0.06, mast + 0.15}, {0.5, 0.2}, {0.06, 0.2}},
               matt(fm_lit(sail, 0.8)));
  }
  fm_polygon(p, 4, (double[][2]){{-0.85, 0.28}, {0.85, 0.28}, {0.5, 0.7}, {-0.55, 0.7}},
             matt(paint(p)));
  const double size = p->size, tilt = p->s, x = p->x0, y = p->y0;
  fm_frame(p, 0, 0, 0, 1);
  fm_ground(p, y + 0.58 * size, fm_lit(sea, 0.6), sea);
  fm_frame(p, x, y, tilt, size);
}

static void flower(fm_paint *p) {
  static const double turn[6][2] = {{0, -1}, {0.8660254, -0.5}, {0.8660254, 0.5},
                                    {0, 1},  {-0.8660254, 0.5}, {-0.8660254, -0.5}};
  const fm_rgb petal = paint(p), green = fm_hsv(fm_pick(p, 0.25, 0.4), 0.7, fm_pick(p, 0.3, 0.6));
  const double y = -0.3, r = fm_pick(p, 0.32, 0.42), size = fm_pick(p, 0.24, 0.3);
  fm_curve(p, 0, y, fm_pick(p, -0.3, 0.3), 0.4, fm_pick(p, -0.2, 0.2), 0.98, 0.05, solid(green));
  fm_ellipse(p, 0.24, 0.55, 0.25, 0.09, -0.4, solid(green));
  fm_ellipse(p, -0.2, 0.7, 0.22, 0.08, 0.4, solid(green));
  for (int k = 0; k < 6; k++)
    fm_ellipse(p, r * turn[k][0], y + r * turn[k][1], size, size, 0,
               solid(fm_vary(p, petal, 0.06)));
  fm_ellipse(p, 0, y, 0.2, 0.2, 0, solid(fm_hsv(fm_pick(p, 0.08, 0.16), 0.8, fm_pick(p, 0.5, 1))));
}

void fm_draw_object(fm_paint *p, int kind) {
  static void (*const draw[10])(fm_paint *) = {ball, block, bottle, ring, star,
                                               tree, house, car,    boat, flower};
  /* Objects standing on the ground lean little; a ring or a star may lean much. */
  const double lean = kind == 3 || kind == 4 ? 0.5 : kind == 8 ? 0.15 : 0.08;
  fm_scene(p);
  fm_frame(p, fm_pick(p, -0.15, 0.15), fm_pick(p, -0.12, 0.12), fm_pick(p, -lean, lean),
           fm_pick(p, 0.62, 0.95));
  draw[kind](p);
}
