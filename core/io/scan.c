/*
** scan.c - a scanner for the text headers of safetensors (JSON) and .npy (a Python literal), and
** the checks of foreign text.
**
** Both headers are small fixed subsets with hardly any nesting, so their readers are straight-line
** code on these few functions. Nothing here recurses, allocates, or reads past the terminating NUL.
*/
#include <stdio.h>
#include <string.h>

#include "io.h"

void fm_scan_start(fm_scan *s, const fm_in *in, char *text, size_t n) {
  text[n] = 0;
  *s = (fm_scan){in->ctx, in->path, text, text, text + n, (size_t)in->at - n, FM_OK};
}

void fm_scan_fail(fm_scan *s, const char *expected) {
  char next[16] = "", shown[64];
  size_t at = (size_t)(s->at - s->text), left = (size_t)(s->end - s->at);
  memcpy(next, s->at, left < 12 ? left : 12);
  s->err = fm_fail(s->ctx, FM_EDATA, "cannot read '%.250s': expected %s at byte %zu, found '%s'",
                   s->path, expected, s->base + at, fm_shown(next, shown));
}

static void skip_blanks(fm_scan *s) { s->at += strspn(s->at, " \t\r\n"); }

bool fm_scan_accept(fm_scan *s, const char *word) {
  size_t n = strlen(word);
  skip_blanks(s);
  if (strncmp(s->at, word, n) != 0) return false;
  s->at += n;
  return true;
}

bool fm_scan_expect(fm_scan *s, const char *word) {
  char expected[64];
  if (fm_scan_accept(s, word)) return true;
  snprintf(expected, sizeof expected, "'%s'", word);
  return fm_scan_bad(s, expected);
}

bool fm_scan_end(fm_scan *s) {
  skip_blanks(s);
  return s->at == s->end || fm_scan_bad(s, "the end");
}

bool fm_scan_natural(fm_scan *s, int64_t *value) {
  skip_blanks(s);
  const char *p = s->at;
  int64_t v = 0;
  for (; *p >= '0' && *p <= '9'; p++) {
    int digit = *p - '0';
    if (v > (INT64_MAX - digit) / 10) return fm_scan_bad(s, "a number below 2^63");
    v = 10 * v + digit;
  }
  if (p == s->at || (*s->at == '0' && p > s->at + 1)) return fm_scan_bad(s, "a whole number");
  s->at += p - s->at;
  *value = v;
  return true;
}

bool fm_scan_shape(fm_scan *s, fm_shape *shape, const char *close) {
  bool python = *close == ')'; /* a comma may come last, as in (3,) */
  *shape = (fm_shape){0};
  if (fm_scan_accept(s, close)) return true;
  do {
    if (shape->nd == FM_MAX_DIMS) return fm_scan_bad(s, "at most 6 dimensions");
    if (!fm_scan_natural(s, &shape->d[shape->nd++])) return false;
    if (!fm_scan_accept(s, ",")) return fm_scan_expect(s, close);
  } while (!(python && fm_scan_accept(s, close)));
  return true;
}

int64_t fm_shape_bytes(const fm_shape *shape, fm_dtype dtype, uint64_t most) {
  if (!fm_sig_fits(&(fm_sig){dtype, *shape})) return -1;
  const uint64_t bytes = (uint64_t)fm_shape_count(shape) * fm_dtype_size(dtype);
  return bytes > most ? -1 : (int64_t)bytes;
}

/* ------------------------------------------------------------------ strings */

const char *fm_shown(const char *text, char buf[64]) {
  size_t n = 0;
  const unsigned char *p = (const unsigned char *)text;
  while (*p) {
    int length = fm_utf8_length(p);
    if (n + 4 > 59) { /* leaves space for "..." */
      memcpy(buf + n, "...", 3);
      n += 3;
      break;
    }
    if (length == 0 || *p < 0x20 || *p == 0x7F) {
      buf[n++] = '?';
      p++;
    } else {
      for (; length > 0; length--) buf[n++] = (char)*p++;
    }
  }
  buf[n] = 0;
  return buf;
}

/* The value of four hexadecimal digits, -1 if they are not. */
static int32_t hex4(const char *p) {
  int32_t v = 0;
  for (int i = 0; i < 4; i++) {
    char c = p[i];
    int digit = c >= '0' && c <= '9'   ? c - '0'
                : c >= 'a' && c <= 'f' ? c - 'a' + 10
                : c >= 'A' && c <= 'F' ? c - 'A' + 10
                                       : -1;
    if (digit < 0) return -1; /* also at a NUL */
    v = 16 * v + digit;
  }
  return v;
}

/* Decode the escape sequence after "\u" to UTF-8 at `to`; its length in bytes, 0 if malformed. */
static int decode_unicode(fm_scan *s, char *to) {
  int32_t code = hex4(s->at);
  if (code <= 0) return 0; /* a C string cannot hold U+0000 */
  s->at += 4;
  if (code >= 0xD800 && code < 0xDC00 && s->at[0] == '\\' && s->at[1] == 'u') {
    int32_t low = hex4(s->at + 2);
    if (low < 0xDC00 || low > 0xDFFF) return 0;
    s->at += 6;
    code = 0x10000 + ((code - 0xD800) << 10) + (low - 0xDC00);
  }
  int n = code < 0x80 ? 1 : code < 0x800 ? 2 : code < 0x10000 ? 3 : 4;
  for (int i = n - 1; i > 0; i--, code >>= 6) to[i] = (char)(0x80 | (code & 0x3F));
  static const int32_t lead[5] = {0, 0, 0xC0, 0xE0, 0xF0};
  to[0] = (char)(lead[n] | code);
  return n; /* a lone surrogate gives malformed UTF-8, which fm_scan_string refuses */
}

char *fm_scan_string(fm_scan *s) {
  static const char plain[] = "\"\\/bfnrt", meaning[] = "\"\\/\b\f\n\r\t";
  if (!fm_scan_expect(s, "\"")) return NULL;
  char *start = s->at, *to = start; /* in place: decoding never lengthens text */
  while (*s->at != '"') {
    if ((unsigned char)*s->at < 0x20) return fm_scan_bad(s, "a closing quote"), NULL;
    if (*s->at != '\\') {
      *to++ = *s->at++;
      continue;
    }
    s->at++;
    const char *known = *s->at ? strchr(plain, *s->at) : NULL;
    if (known) {
      *to++ = meaning[known - plain];
      s->at++;
    } else if (*s->at == 'u') {
      s->at++;
      int n = decode_unicode(s, to);
      if (n == 0) return fm_scan_bad(s, "a character code"), NULL;
      to += n;
    } else {
      return fm_scan_bad(s, "an escape sequence"), NULL;
    }
  }
  s->at++;
  *to = 0;
  if (!fm_utf8_ok(start)) return fm_scan_bad(s, "a string in UTF-8 that ends"), NULL;
  return start;
}
