/* utf8.c - UTF-8 in texts from elsewhere. */
#include "utf8.h"

#include <stddef.h>
#include <stdint.h>

int fm_utf8_length(const unsigned char *p) {
  static const uint32_t least[5] = {0, 0, 0x80, 0x800, 0x10000};
  int n = *p < 0x80 ? 1 : *p < 0xC0 ? 0 : *p < 0xE0 ? 2 : *p < 0xF0 ? 3 : *p < 0xF8 ? 4 : 0;
  if (n < 2) return n;
  uint32_t code = *p & (0x7Fu >> n);
  for (int i = 1; i < n; i++) {
    if ((p[i] & 0xC0) != 0x80) return 0; /* also at a NUL */
    code = code << 6 | (p[i] & 0x3Fu);
  }
  if (code < least[n] || code > 0x10FFFF || (code >= 0xD800 && code < 0xE000)) return 0;
  return n;
}

bool fm_utf8_ok(const char *text) {
  for (const unsigned char *p = (const unsigned char *)text; *p;) {
    int n = fm_utf8_length(p);
    if (n == 0) return false;
    p += n;
  }
  return true;
}

void fm_make_printable(char *text) {
  unsigned char *p = (unsigned char *)text;
  while (*p) {
    const int n = fm_utf8_length(p);
    if (n == 0 || *p < 0x20 || *p == 0x7F)
      *p++ = '?';
    else
      p += n;
  }
}
