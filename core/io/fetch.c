/*
** fetch.c - downloads by libcurl, which is loaded only when one is requested: with its two dozen
** dependencies it would make every start of the program 7 ms slower.
**
** Plain http can be read and modified in transit, so only https is accepted, also in redirects.
** A file:// address is read locally.
*/
#include "fetch.h"

#include <curl/curl.h>
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>

#include "../symbol.h"

/* The functions used, with the types that the library's header gives them. */
typedef struct api {
  void *library;
  CURL *(*init)(void);
  CURLcode (*setopt)(CURL *, CURLoption, ...);
  CURLcode (*perform)(CURL *);
  CURLcode (*getinfo)(CURL *, CURLINFO, ...);
  void (*cleanup)(CURL *);
  const char *(*text)(CURLcode);
} api;

static const curl_off_t most_bytes = (curl_off_t)1 << 37; /* a server might never stop sending */

typedef struct transfer {
  fm_ctx *ctx;
  const char *path;
  int fd, error;            /* error: errno of a failed write */
  curl_off_t had, received; /* bytes in the file before, and added to it */
  fm_fetch_fn fn;
  void *arg;
} transfer;

static fm_err load(fm_ctx *ctx, api *a) {
  a->library = dlopen(FM_SHARED("curl", "4"), RTLD_NOW | RTLD_LOCAL);
  if (a->library && fm_symbol(a->library, "curl_easy_init", &a->init) &&
      fm_symbol(a->library, "curl_easy_setopt", &a->setopt) &&
      fm_symbol(a->library, "curl_easy_perform", &a->perform) &&
      fm_symbol(a->library, "curl_easy_getinfo", &a->getinfo) &&
      fm_symbol(a->library, "curl_easy_cleanup", &a->cleanup) &&
      fm_symbol(a->library, "curl_easy_strerror", &a->text))
    return FM_OK;
  if (a->library) dlclose(a->library);
  fm_fail(ctx, FM_EDATA,
          "downloads need libcurl (" FM_SHARED("curl", "4") "), which is not installed");
  return FM_EDATA;
}

static size_t receive(char *bytes, size_t one, size_t n, void *arg) {
  transfer *t = arg;
  size_t done = 0, all = one * n;
  t->received += (curl_off_t)all;
  if (t->had + t->received > most_bytes) {
    t->error = EFBIG;
    return 0;
  }
  while (done < all) {
    ssize_t put = write(t->fd, bytes + done, all - done);
    if (put < 0 && errno == EINTR) continue;
    if (put <= 0) {
      t->error = put < 0 ? errno : EIO;
      return 0;
    }
    done += (size_t)put;
  }
  return all;
}

static int tell(void *arg, curl_off_t total, curl_off_t now, curl_off_t up, curl_off_t up_now) {
  transfer *t = arg;
  (void)up, (void)up_now;
  return t->fn && !t->fn(t->arg, (double)(t->had + now), total ? (double)(t->had + total) : 0);
}

static CURLcode attempt(const api *a, CURL *c, const char *url, transfer *t) {
  t->had = lseek(t->fd, 0, SEEK_END);
  t->received = 0;
  CURLcode code = a->setopt(c, CURLOPT_URL, url);
  /* A library without these options would follow any redirect; then nothing is downloaded. */
  if (!code) code = a->setopt(c, CURLOPT_PROTOCOLS_STR, "https,file");
  if (!code) code = a->setopt(c, CURLOPT_REDIR_PROTOCOLS_STR, "https");
  if (!code) code = a->setopt(c, CURLOPT_SSL_VERIFYPEER, 1L);
  if (!code) code = a->setopt(c, CURLOPT_SSL_VERIFYHOST, 2L);
  if (code) return code;
  a->setopt(c, CURLOPT_FOLLOWLOCATION, 1L);
  a->setopt(c, CURLOPT_MAXREDIRS, 8L);
  a->setopt(c, CURLOPT_FAILONERROR, 1L);
  a->setopt(c, CURLOPT_NOSIGNAL, 1L);
  a->setopt(c, CURLOPT_CONNECTTIMEOUT, 30L);
  a->setopt(c, CURLOPT_LOW_SPEED_LIMIT, 1L);
  a->setopt(c, CURLOPT_LOW_SPEED_TIME, 60L);
  a->setopt(c, CURLOPT_USERAGENT, "flowmap/" FM_VERSION);
  a->setopt(c, CURLOPT_WRITEFUNCTION, receive);
  a->setopt(c, CURLOPT_WRITEDATA, t);
  a->setopt(c, CURLOPT_NOPROGRESS, 0L);
  a->setopt(c, CURLOPT_XFERINFOFUNCTION, tell);
  a->setopt(c, CURLOPT_XFERINFODATA, t);
  a->setopt(c, CURLOPT_RESUME_FROM_LARGE, t->had);
  return a->perform(c);
}

static fm_err why(const api *a, CURL *c, CURLcode code, const char *url, const transfer *t) {
  long status = 0;
  a->getinfo(c, CURLINFO_RESPONSE_CODE, &status);
  if (t->error)
    return fm_fail(t->ctx, FM_EDATA, "cannot write '%.300s': %s", t->path, strerror(t->error));
  if (code == CURLE_UNSUPPORTED_PROTOCOL)
    return fm_fail(t->ctx, FM_EDATA,
                   "cannot download %.300s: it leads to an address that is not https", url);
  if (code == CURLE_HTTP_RETURNED_ERROR)
    return fm_fail(t->ctx, FM_EDATA, "cannot download %.300s: the server answered with status %ld",
                   url, status);
  return fm_fail(t->ctx, FM_EDATA, "cannot download %.300s: %s%s", url, a->text(code),
                 code == CURLE_PARTIAL_FILE || t->had ? "; run it again to resume" : "");
}

static fm_err download(const api *a, const char *url, transfer *t) {
  CURL *c = a->init();
  if (c == NULL) return fm_fail(t->ctx, FM_ENOMEM, "no memory for a download");
  CURLcode code = attempt(a, c, url, t);
  long status = 0;
  a->getinfo(c, CURLINFO_RESPONSE_CODE, &status);
  /* The partial file is not a prefix of what the server has: start over. */
  const bool unfit = code == CURLE_RANGE_ERROR || code == CURLE_BAD_DOWNLOAD_RESUME ||
                     (code == CURLE_HTTP_RETURNED_ERROR && status == 416);
  if (t->had > 0 && unfit && ftruncate(t->fd, 0) == 0) code = attempt(a, c, url, t);
  fm_err err = code == CURLE_OK ? FM_OK : why(a, c, code, url, t);
  a->cleanup(c);
  return err;
}

fm_err fm_fetch(fm_ctx *ctx, const char *url, const char *path, fm_fetch_fn fn, void *arg) {
  api a;
  if (strncasecmp(url, "https://", 8) != 0 && strncasecmp(url, "file://", 7) != 0)
    return fm_fail(ctx, FM_EUSAGE, "cannot download %.300s: expected an https:// address", url);
  transfer t = {.ctx = ctx, .path = path, .fn = fn, .arg = arg};
  fm_err err = load(ctx, &a);
  if (err) return err;
  do { /* O_NOFOLLOW: in a folder that others can write to, a link may have been planted */
    t.fd = open(path, O_WRONLY | O_CREAT | O_APPEND | O_NOFOLLOW | O_CLOEXEC, 0666);
  } while (t.fd < 0 && errno == EINTR);
  if (t.fd < 0) {
    err = fm_fail(ctx, FM_EDATA, "cannot write '%.400s': %s", path, strerror(errno));
  } else {
    err = download(&a, url, &t);
    if (err && lseek(t.fd, 0, SEEK_END) == 0) unlink(path); /* nothing to resume */
    if (close(t.fd) != 0 && !err)
      err = fm_fail(ctx, FM_EDATA, "cannot write '%.400s': %s", path, strerror(errno));
  }
  dlclose(a.library);
  return err;
}
