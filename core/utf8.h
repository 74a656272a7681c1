/* utf8.h - UTF-8 in texts from elsewhere. */
#ifndef FM_UTF8_H
#define FM_UTF8_H

#include <stdbool.h>

/* The length of the UTF-8 sequence at p, 0 if malformed (overlong, surrogate, above U+10FFFF). */
int fm_utf8_length(const unsigned char *p);
bool fm_utf8_ok(const char *text); /* whether all of it is valid UTF-8 */
/* Replace control characters and bytes that are not UTF-8 by '?', in place. */
void fm_make_printable(char *text);

#endif
