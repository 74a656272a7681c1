/*
** paint.h - drawing shaded shapes into small pictures, for the procedural stand-in data sets. All
** arithmetic is Philox and + - * / sqrt, so that a picture has the same bits on every machine.
** Coordinates are those of a frame: x to the right, y down, both about [-1, 1].
*/
#ifndef FM_PAINT_H
#define FM_PAINT_H

#include <stdbool.h>
#include <stdint.h>

enum { FM_PAINT_SIDE = 64 }; /* the largest side of a picture */

typedef struct fm_rgb {
  double r, g, b;
} fm_rgb;

typedef struct fm_paint { /* the picture being drawn; owns nothing */
  int side;
  uint64_t seed;
  uint32_t image, drawn; /* number of the picture; count of its random numbers so far */
  uint32_t word[4];
  double x0, y0, c, s, size; /* the frame: origin, rotation and scale in the picture */
  double light[3];           /* unit vector towards the light; z towards the viewer */
  double ambient;
  fm_rgb p[FM_PAINT_SIDE * FM_PAINT_SIDE];
} fm_paint;

/* Random numbers. */
double fm_pick(fm_paint *p, double lo, double hi); /* uniform on [lo, hi) */
int fm_choose(fm_paint *p, int n);                 /* uniform on 0 .. n-1 */
bool fm_maybe(fm_paint *p, double chance);         /* true with that probability */

/* Colours. */
fm_rgb fm_hsv(double h, double s, double v); /* h is periodic in 1 */
fm_rgb fm_mix_rgb(fm_rgb a, fm_rgb b, double t);
fm_rgb fm_lit(fm_rgb a, double factor);           /* scale the brightness */
fm_rgb fm_vary(fm_paint *p, fm_rgb a, double by); /* scale each channel by 1 - by .. 1 + by */

/* A picture starts with a random direction of light and the identity frame. */
void fm_paint_start(fm_paint *p, int side, uint64_t seed, uint32_t image);
/* Move the frame: its origin in the picture, the sine of its rotation, its scale. */
void fm_frame(fm_paint *p, double x, double y, double tilt, double size);
void fm_paint_end(const fm_paint *p, uint8_t *rgb); /* rgb: (side, side, 3) */

/* Backgrounds, which cover the whole picture. */
void fm_wash(fm_paint *p, fm_rgb from, fm_rgb to, double dx, double dy);
void fm_clouds(fm_paint *p, fm_rgb colour, double amount, double cells);
void fm_ground(fm_paint *p, double horizon, fm_rgb near, fm_rgb far);
void fm_scene(fm_paint *p); /* one of several kinds, in random colours */

/* Shapes in the frame. */
typedef struct fm_look {
  fm_rgb colour;
  double round; /* 0: flat, 1: shaded as a ball or a cylinder */
  double gloss; /* strength of the highlight */
  double alpha; /* opacity; 0 counts as 1 */
  double blur;  /* width of the edge */
} fm_look;
void fm_ellipse(fm_paint *p, double x, double y, double rx, double ry, double tilt, fm_look look);
void fm_box(fm_paint *p, double x, double y, double hx, double hy, double corner, fm_look look);
void fm_ring(fm_paint *p, double x, double y, double r, double thick, fm_look look);
void fm_stroke(fm_paint *p, double x0, double y0, double x1, double y1, double r, fm_look look);
/* A quadratic Bezier curve from (x0, y0) to (x1, y1) with control point (cx, cy). */
void fm_curve(fm_paint *p, double x0, double y0, double cx, double cy, double x1, double y1,
              double r, fm_look look);
void fm_polygon(fm_paint *p, int n, double (*xy)[2], fm_look look); /* convex, clockwise */

/* One picture of each data set, of side 32, 64 and 64. */
void fm_draw_object(fm_paint *p, int kind); /* 0 .. 9, see fm_object_names */
void fm_draw_face(fm_paint *p);
void fm_draw_animal(fm_paint *p, int kind); /* 0 cat, 1 dog, 2 wild */
extern const char *const fm_object_names[10];

#endif
