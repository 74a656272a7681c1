/* paint.c - the drawing functions of paint.h: random numbers, colours, backgrounds, shapes. */
#include "paint.h"

#include <math.h>
#include <string.h>

#include "../fm.h"

static double clamp(double x, double lo, double hi) { return x < lo ? lo : x > hi ? hi : x; }
static double smooth(double x) { return x * x * (3 - 2 * x); }

/* ------------------------------------------------------------------ random numbers */

double fm_pick(fm_paint *p, double lo, double hi) {
  const uint32_t k = p->drawn++;
  if (k % 4 == 0) {
    const uint32_t key[2] = {(uint32_t)p->seed, (uint32_t)(p->seed >> 32)};
    fm_philox((uint32_t[4]){p->image, k / 4, 0, 0x9a1e7}, key, p->word);
  }
  return lo + (hi - lo) * (p->word[k % 4] / 4294967296.0);
}

int fm_choose(fm_paint *p, int n) { return (int)fm_pick(p, 0, n); }
bool fm_maybe(fm_paint *p, double chance) { return fm_pick(p, 0, 1) < chance; }

/* ------------------------------------------------------------------ colours */

fm_rgb fm_hsv(double h, double s, double v) {
  double channel[3];
  for (int k = 0; k < 3; k++) { /* each channel is a trapezoidal function of the hue */
    double t = h + k / 3.0;
    t = 6 * (t - floor(t));
    channel[k] = v * (1 - s + s * clamp(fabs(t - 3) - 1, 0, 1));
  }
  return (fm_rgb){channel[0], channel[2], channel[1]};
}

fm_rgb fm_mix_rgb(fm_rgb a, fm_rgb b, double t) {
  return (fm_rgb){a.r + (b.r - a.r) * t, a.g + (b.g - a.g) * t, a.b + (b.b - a.b) * t};
}

fm_rgb fm_lit(fm_rgb a, double f) { return (fm_rgb){a.r * f, a.g * f, a.b * f}; }

fm_rgb fm_vary(fm_paint *p, fm_rgb a, double by) {
  double r = fm_pick(p, 1 - by, 1 + by), g = fm_pick(p, 1 - by, 1 + by);
  return (fm_rgb){a.r * r, a.g * g, a.b * fm_pick(p, 1 - by, 1 + by)};
}

/* ------------------------------------------------------------------ the picture */

void fm_frame(fm_paint *p, double x, double y, double tilt, double size) {
  p->x0 = x;
  p->y0 = y;
  p->s = tilt;
  p->c = sqrt(1 - tilt * tilt);
  p->size = size;
}

void fm_paint_start(fm_paint *p, int side, uint64_t seed, uint32_t image) {
  *p = (fm_paint){.side = side, .seed = seed, .image = image};
  double x = fm_pick(p, -0.9, 0.9), y = fm_pick(p, -1, -0.2), z = fm_pick(p, 0.5, 1);
  double n = sqrt(x * x + y * y + z * z);
  p->light[0] = x / n;
  p->light[1] = y / n;
  p->light[2] = z / n;
  p->ambient = fm_pick(p, 0.35, 0.6);
  fm_frame(p, 0, 0, 0, 1);
}

void fm_paint_end(const fm_paint *p, uint8_t *rgb) {
  for (int k = 0; k < p->side * p->side; k++) {
    const double v[3] = {p->p[k].r, p->p[k].g, p->p[k].b};
    for (int c = 0; c < 3; c++) *rgb++ = (uint8_t)(255 * clamp(v[c], 0, 1) + 0.5);
  }
}

/* The centre of pixel i along one side of the picture, and that of pixel (i, j) in the frame. */
static double at(const fm_paint *p, int i) { return (2 * i + 1.0) / p->side - 1; }

static void to_frame(const fm_paint *p, int i, int j, double *x, double *y) {
  double u = at(p, i) - p->x0, v = at(p, j) - p->y0;
  *x = (p->c * u + p->s * v) / p->size;
  *y = (p->c * v - p->s * u) / p->size;
}

/* The pixels within `r` of (x, y) in the frame: [i0, i1) x [j0, j1). */
typedef struct patch {
  int i0, i1, j0, j1;
} patch;

static int pixel(const fm_paint *p, double u) {
  return (int)clamp((u + 1) * p->side / 2, 0, p->side);
}

static patch around(const fm_paint *p, double x, double y, double r, double blur) {
  const double u = p->x0 + p->size * (p->c * x - p->s * y);
  const double v = p->y0 + p->size * (p->s * x + p->c * y);
  const double far = p->size * (r + blur) + 4.0 / p->side;
  return (patch){pixel(p, u - far), pixel(p, u + far + 2.0 / p->side), pixel(p, v - far),
                 pixel(p, v + far + 2.0 / p->side)};
}

/* ------------------------------------------------------------------ backgrounds */

void fm_wash(fm_paint *p, fm_rgb from, fm_rgb to, double dx, double dy) {
  for (int j = 0; j < p->side; j++)
    for (int i = 0; i < p->side; i++) {
      double t = clamp(0.5 + 0.5 * (dx * at(p, i) + dy * at(p, j)), 0, 1);
      p->p[j * p->side + i] = fm_mix_rgb(from, to, t);
    }
}

/* Value noise: smooth interpolation between random values on a lattice. */
static double lattice(const fm_paint *p, uint32_t salt, int i, int j) {
  uint32_t out[4];
  const uint32_t key[2] = {(uint32_t)p->seed, salt};
  fm_philox((uint32_t[4]){p->image, (uint32_t)i, (uint32_t)j, 0x7e47}, key, out);
  return out[0] / 4294967296.0;
}

static double noise(const fm_paint *p, uint32_t salt, double x, double y) {
  int i = (int)floor(x), j = (int)floor(y);
  double u = smooth(x - i), v = smooth(y - j);
  double a = lattice(p, salt, i, j), b = lattice(p, salt, i + 1, j);
  double c = lattice(p, salt, i, j + 1), d = lattice(p, salt, i + 1, j + 1);
  return (a + (b - a) * u) * (1 - v) + (c + (d - c) * u) * v;
}

void fm_clouds(fm_paint *p, fm_rgb colour, double amount, double cells) {
  const uint32_t salt = p->drawn;
  for (int j = 0; j < p->side; j++)
    for (int i = 0; i < p->side; i++) {
      double x = at(p, i) * cells, y = at(p, j) * cells;
      double t = 0.65 * noise(p, salt, x, y) + 0.35 * noise(p, salt + 1, 2 * x, 2 * y);
      fm_rgb *q = &p->p[j * p->side + i];
      *q = fm_mix_rgb(*q, colour, amount * clamp(2 * t - 0.5, 0, 1));
    }
}

void fm_ground(fm_paint *p, double horizon, fm_rgb near, fm_rgb far) {
  for (int j = 0; j < p->side; j++) {
    double depth = (at(p, j) - horizon) / (1 - horizon);
    double cover = clamp(0.5 + 0.5 * p->side * (at(p, j) - horizon), 0, 1);
    for (int i = 0; i < p->side; i++) {
      fm_rgb *q = &p->p[j * p->side + i];
      *q = fm_mix_rgb(*q, fm_mix_rgb(far, near, clamp(depth, 0, 1)), cover);
    }
  }
}

void fm_scene(fm_paint *p) {
  const double hue = fm_pick(p, 0, 1), dx = fm_pick(p, -1, 1), dy = fm_pick(p, -1, 1);
  fm_rgb a = fm_hsv(hue, fm_pick(p, 0.05, 0.6), fm_pick(p, 0.35, 0.95));
  fm_rgb b = fm_hsv(hue + fm_pick(p, -0.15, 0.15), fm_pick(p, 0.05, 0.6), fm_pick(p, 0.15, 0.9));
  switch (fm_choose(p, 4)) {
  case 0: fm_wash(p, a, b, dx, dy); break;
  case 1: /* a table in front of a wall */
    fm_wash(p, a, fm_lit(a, 0.7), dx, 0.5);
    fm_ground(p, fm_pick(p, 0.1, 0.5), b, fm_lit(b, 0.6));
    break;
  case 2: /* outdoors */
    a = fm_hsv(fm_pick(p, 0.52, 0.64), fm_pick(p, 0.2, 0.6), fm_pick(p, 0.7, 1));
    fm_wash(p, a, fm_mix_rgb(a, (fm_rgb){1, 1, 1}, 0.5), 0, 1);
    fm_clouds(p, (fm_rgb){1, 1, 1}, fm_pick(p, 0, 0.7), 1.5);
    b = fm_hsv(fm_pick(p, 0.08, 0.4), fm_pick(p, 0.2, 0.6), fm_pick(p, 0.3, 0.7));
    fm_ground(p, fm_pick(p, 0, 0.5), b, fm_mix_rgb(b, a, 0.4));
    break;
  default: /* a blurred background */
    fm_wash(p, a, fm_lit(a, 0.6), dx, dy);
    fm_clouds(p, b, 0.9, fm_pick(p, 0.7, 2.2));
  }
}

/* ------------------------------------------------------------------ shapes */

/* The colour of a surface with normal (nx, ny, nz) in the frame: diffuse light and highlight. */
static fm_rgb shade(const fm_paint *p, const fm_look *look, double nx, double ny, double nz) {
  const double u = p->c * nx - p->s * ny, v = p->s * nx + p->c * ny;
  const double dot = u * p->light[0] + v * p->light[1] + nz * p->light[2];
  const double diffuse = p->ambient + (1.15 - p->ambient) * clamp(dot, 0, 1);
  fm_rgb c = fm_lit(look->colour, 1 + look->round * (diffuse - 1));
  double up = clamp(2 * dot * nz - p->light[2], 0, 1); /* reflected towards the viewer */
  up *= up, up *= up, up *= up * up;
  return fm_mix_rgb(c, (fm_rgb){1, 1, 1}, clamp(look->gloss * up, 0, 1));
}

/* Blend a colour over pixel (i, j); d: signed distance to the edge in the frame, inside < 0. */
static void lay(fm_paint *p, int i, int j, double d, const fm_look *look, fm_rgb colour) {
  const double width = look->blur + 2.2 / (p->side * p->size);
  const double cover = clamp(0.5 - d / width, 0, 1) * (look->alpha > 0 ? look->alpha : 1);
  fm_rgb *q = &p->p[j * p->side + i];
  if (cover > 0) *q = fm_mix_rgb(*q, colour, cover);
}

void fm_ellipse(fm_paint *p, double x, double y, double rx, double ry, double tilt, fm_look look) {
  const double c = sqrt(1 - tilt * tilt), least = rx < ry ? rx : ry;
  const patch q = around(p, x, y, rx > ry ? rx : ry, look.blur);
  for (int j = q.j0; j < q.j1; j++)
    for (int i = q.i0; i < q.i1; i++) {
      double u, v;
      to_frame(p, i, j, &u, &v);
      u -= x, v -= y;
      const double a = (c * u + tilt * v) / rx, b = (c * v - tilt * u) / ry;
      const double r = sqrt(a * a + b * b);
      /* First-order distance: the value over the norm of its gradient, except at the centre. */
      const double slope = sqrt(a * a / (rx * rx) + b * b / (ry * ry));
      const double d = slope > 1e-9 ? r * (r - 1) / slope : -least;
      if (d > 1) continue;
      const double in = r < 0.999 ? r : 0.999, k = r > 1e-9 ? in / r : 0;
      const double na = a * k, nb = b * k;
      lay(p, i, j, d, &look,
          shade(p, &look, c * na - tilt * nb, tilt * na + c * nb, sqrt(1 - in * in)));
    }
}

void fm_box(fm_paint *p, double x, double y, double hx, double hy, double corner, fm_look look) {
  const patch q = around(p, x, y, hx + hy, look.blur);
  for (int j = q.j0; j < q.j1; j++)
    for (int i = q.i0; i < q.i1; i++) {
      double u, v;
      to_frame(p, i, j, &u, &v);
      u -= x, v -= y;
      const double a = fabs(u) - hx + corner, b = fabs(v) - hy + corner;
      const double oa = a > 0 ? a : 0, ob = b > 0 ? b : 0;
      const double inside = a > b ? a : b;
      const double d = sqrt(oa * oa + ob * ob) + (inside < 0 ? inside : 0) - corner;
      const double nx = clamp(0.8 * u / hx, -0.8, 0.8); /* as an upright cylinder */
      lay(p, i, j, d, &look, shade(p, &look, nx, 0, sqrt(1 - nx * nx)));
    }
}

void fm_ring(fm_paint *p, double x, double y, double r, double thick, fm_look look) {
  const patch q = around(p, x, y, r + thick, look.blur);
  for (int j = q.j0; j < q.j1; j++)
    for (int i = q.i0; i < q.i1; i++) {
      double u, v;
      to_frame(p, i, j, &u, &v);
      u -= x, v -= y;
      const double far = sqrt(u * u + v * v), off = far - r, t = clamp(off / thick, -0.99, 0.99);
      const double nx = far > 1e-9 ? t * u / far : 0, ny = far > 1e-9 ? t * v / far : 0;
      lay(p, i, j, fabs(off) - thick, &look, shade(p, &look, nx, ny, sqrt(1 - t * t)));
    }
}

void fm_stroke(fm_paint *p, double x0, double y0, double x1, double y1, double r, fm_look look) {
  const double dx = x1 - x0, dy = y1 - y0, len2 = dx * dx + dy * dy + 1e-12;
  const patch q = around(p, (x0 + x1) / 2, (y0 + y1) / 2, sqrt(len2) / 2 + r, look.blur);
  for (int j = q.j0; j < q.j1; j++)
    for (int i = q.i0; i < q.i1; i++) {
      double u, v;
      to_frame(p, i, j, &u, &v);
      const double t = clamp(((u - x0) * dx + (v - y0) * dy) / len2, 0, 1);
      const double a = u - x0 - t * dx, b = v - y0 - t * dy, d = sqrt(a * a + b * b);
      const double k = clamp(d / r, 0, 0.99) / (d > 1e-9 ? d : 1);
      lay(p, i, j, d - r, &look, shade(p, &look, a * k, b * k, sqrt(1 - k * k * d * d)));
    }
}

void fm_curve(fm_paint *p, double x0, double y0, double cx, double cy, double x1, double y1,
              double r, fm_look look) {
  enum { PARTS = 6 };
  double x = x0, y = y0;
  for (int k = 1; k <= PARTS; k++) {
    const double t = (double)k / PARTS, a = (1 - t) * (1 - t), b = 2 * t * (1 - t), c = t * t;
    const double nx = a * x0 + b * cx + c * x1, ny = a * y0 + b * cy + c * y1;
    fm_stroke(p, x, y, nx, ny, r, look);
    x = nx, y = ny;
  }
}

void fm_polygon(fm_paint *p, int n, double (*xy)[2], fm_look look) {
  double x = 0, y = 0, r = 0;
  for (int k = 0; k < n; k++) x += xy[k][0] / n, y += xy[k][1] / n;
  for (int k = 0; k < n; k++) {
    const double a = xy[k][0] - x, b = xy[k][1] - y, far = sqrt(a * a + b * b);
    if (far > r) r = far;
  }
  const patch q = around(p, x, y, r, look.blur);
  for (int j = q.j0; j < q.j1; j++)
    for (int i = q.i0; i < q.i1; i++) {
      double u, v, d = -1e9;
      to_frame(p, i, j, &u, &v);
      for (int k = 0; k < n; k++) {
        const double *a = xy[k], *b = xy[(k + 1) % n];
        const double ex = b[0] - a[0], ey = b[1] - a[1], len = sqrt(ex * ex + ey * ey);
        const double side = ((u - a[0]) * ey - (v - a[1]) * ex) / len;
        if (side > d) d = side;
      }
      lay(p, i, j, d, &look, shade(p, &look, 0, 0, 1));
    }
}
