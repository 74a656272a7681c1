/* sha256.c - SHA-256 by nettle, which identifies data sets and the inputs of a run. */
#include <nettle/sha2.h>

#include "io.h"

void fm_sha256_hex(struct sha256_ctx *sha, char hex[65]) {
  uint8_t digest[SHA256_DIGEST_SIZE];
  sha256_digest(sha, sizeof digest, digest);
  for (size_t i = 0; i < sizeof digest; i++) {
    hex[2 * i] = "0123456789abcdef"[digest[i] >> 4];
    hex[2 * i + 1] = "0123456789abcdef"[digest[i] & 15];
  }
  hex[64] = 0;
}

void fm_sha256(const void *bytes, size_t n, char hex[65]) {
  struct sha256_ctx sha;
  sha256_init(&sha);
  sha256_update(&sha, n, bytes);
  fm_sha256_hex(&sha, hex);
}

fm_err fm_sha256_file(fm_ctx *ctx, const char *path, char hex[65]) {
  struct sha256_ctx sha;
  uint8_t block[16384];
  fm_in in;
  hex[0] = 0;
  fm_err err = fm_in_open(&in, ctx, path);
  if (err) return err;
  sha256_init(&sha);
  while (!err && in.at < in.size) {
    size_t n = in.size - in.at < sizeof block ? (size_t)(in.size - in.at) : sizeof block;
    err = fm_in_read(&in, block, n);
    if (!err) sha256_update(&sha, n, block);
  }
  fm_in_close(&in);
  if (!err) fm_sha256_hex(&sha, hex);
  return err;
}
