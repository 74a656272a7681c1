/*
** safetensors.h - the definitions that the writer and the reader of safetensors share.
**
** The format (github.com/huggingface/safetensors): u64 length of the header, a JSON header, the
** data.
**
**   {"__metadata__":{"key":"value",...},
**    "name":{"dtype":"F32","shape":[2,3],"data_offsets":[0,24]},...}
**
** The header of our files begins with MARK and eight zeros, which are replaced by the CRC-32 of the
** whole file computed with the zeros in place. A file with a damaged mark would pass for a foreign
** one, without a checksum; the second key, flowmap.format, shows that there should be one.
*/
#ifndef FM_IO_SAFETENSORS_H
#define FM_IO_SAFETENSORS_H

#include <string.h>

#include "io.h"

#define OUR_PREFIX "flowmap."
#define CRC_KEY OUR_PREFIX "crc32"
#define FORMAT_KEY OUR_PREFIX "format"
#define META_KEY "__metadata__"
#define MARK "{\"" META_KEY "\":{\"" CRC_KEY "\":\""
#define ZEROS "00000000"

enum { MARK_SIZE = sizeof MARK - 1, CRC_DIGITS = sizeof ZEROS - 1, LENGTH_BYTES = 8 };
enum { MAX_HEADER = 100000000 }; /* the reference implementation's limit */

static const char *const dtype_names[] = {[FM_F32] = "F32", [FM_F64] = "F64"};

/* Whether a metadata key is ours: callers can neither set nor see it. */
static inline bool key_reserved(const char *key) {
  return strcmp(key, CRC_KEY) == 0 || strcmp(key, FORMAT_KEY) == 0;
}

static inline int compare_keys(const void *a, const void *b) {
  const fm_pair *x = a, *y = b;
  return strcmp(x->key, y->key);
}

#endif
