/*
** test_fetch.c - downloads use only https. Functions of this file stand in for libcurl and record
** their arguments: io/fetch.c is compiled here once more, with another dlopen.
*/
#define _DEFAULT_SOURCE
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <curl/curl.h>
#include <sys/stat.h>

#include <string.h>

#include "io/fetch.h"

static struct {
  char first[32], redirected[32]; /* protocols allowed */
  long verify_peer, verify_host;
  bool ignorant;  /* the library does not know protocols by name */
  size_t endless; /* bytes in a block of a download that does not end; 0: one of 4 bytes */
  int performed;
  size_t (*receive)(char *, size_t, size_t, void *);
  void *to;
} curl;

/* ------------------------------------------------------------------ the library */

static CURL *fake_init(void) { return (CURL *)&curl; }
static void fake_cleanup(CURL *c) { (void)c; }
static CURLcode fake_getinfo(CURL *c, CURLINFO what, ...) { return (void)c, (void)what, CURLE_OK; }
static const char *fake_text(CURLcode code) { return code ? "failed" : "worked"; }

static CURLcode fake_setopt(CURL *c, CURLoption what, ...) {
  va_list args;
  (void)c;
  va_start(args, what);
  if (what == CURLOPT_PROTOCOLS_STR || what == CURLOPT_REDIR_PROTOCOLS_STR)
    strcpy(what == CURLOPT_PROTOCOLS_STR ? curl.first : curl.redirected, va_arg(args, char *));
  if (what == CURLOPT_SSL_VERIFYPEER) curl.verify_peer = va_arg(args, long);
  if (what == CURLOPT_SSL_VERIFYHOST) curl.verify_host = va_arg(args, long);
  if (what == CURLOPT_WRITEDATA) curl.to = va_arg(args, void *);
  if (what == CURLOPT_WRITEFUNCTION)
    curl.receive = va_arg(args, size_t(*)(char *, size_t, size_t, void *));
  va_end(args);
  return curl.ignorant && what == CURLOPT_REDIR_PROTOCOLS_STR ? CURLE_UNKNOWN_OPTION : CURLE_OK;
}

static CURLcode fake_perform(CURL *c) {
  (void)c;
  curl.performed++;
  if (!curl.endless) return curl.receive("text", 1, 4, curl.to) == 4 ? CURLE_OK : CURLE_WRITE_ERROR;
  return curl.receive("", 1, curl.endless, curl.to) ? CURLE_OK : CURLE_WRITE_ERROR;
}

static void *fake_dlopen(const char *name, int how) { return (void)name, (void)how, &curl; }
static int fake_dlclose(void *library) { return (void)library, 0; }
static void *fake_dlsym(void *library, const char *name) {
  static const struct {
    const char *name;
    void (*f)(void);
  } all[] = {{"curl_easy_init", (void (*)(void))fake_init},
             {"curl_easy_setopt", (void (*)(void))fake_setopt},
             {"curl_easy_perform", (void (*)(void))fake_perform},
             {"curl_easy_getinfo", (void (*)(void))fake_getinfo},
             {"curl_easy_cleanup", (void (*)(void))fake_cleanup},
             {"curl_easy_strerror", (void (*)(void))fake_text}};
  void *f = NULL;
  (void)library;
  for (size_t k = 0; k < sizeof all / sizeof *all; k++)
    if (strcmp(name, all[k].name) == 0) memcpy(&f, &all[k].f, sizeof f);
  return f;
}

#include <dlfcn.h>
#define dlopen fake_dlopen
#define dlclose fake_dlclose
#define dlsym fake_dlsym
#include "io/fetch.c"
#include "scratch.h"

static int setup_curl(void **state) {
  memset(&curl, 0, sizeof curl);
  return setup(state);
}

#undef TEST
#define TEST(f) cmocka_unit_test_setup_teardown(f, setup_curl, teardown)

/* ------------------------------------------------------------------ tests */

static void test_https_alone(void **state) {
  (void)state;
  const char *path = in_folder("a");
  assert_int_equal(fm_fetch(ctx, "https://example.org/a", path, NULL, NULL), FM_OK);
  assert_string_equal(curl.first, "https,file");
  assert_string_equal(curl.redirected, "https"); /* neither back to http nor into local files */
  assert_int_equal(curl.verify_peer, 1);
  assert_int_equal(curl.verify_host, 2);
  assert_int_equal(curl.performed, 1);
}

static void test_other_addresses(void **state) {
  static const char *const urls[] = {"http://example.org/a", "HTTP://example.org/a",
                                     "example.org/a",        "ftp://example.org/a",
                                     "gopher://x",           "",
                                     "httpsx://a",           "scp://x",
                                     "/etc/passwd"};
  (void)state;
  for (size_t k = 0; k < sizeof urls / sizeof *urls; k++) {
    assert_int_equal(fm_fetch(ctx, urls[k], in_folder("a"), NULL, NULL), FM_EUSAGE);
    assert_non_null(strstr(fm_error(ctx), "https://"));
    fm_error_clear(ctx);
  }
  assert_int_equal(curl.performed, 0);
  assert_int_equal(list(false), 0);
}

static void test_ignorant_library(void **state) {
  (void)state;
  curl.ignorant = true;
  assert_int_equal(fm_fetch(ctx, "https://example.org/a", in_folder("a"), NULL, NULL), FM_EDATA);
  fm_error_clear(ctx);
  assert_int_equal(curl.performed, 0);
  assert_int_equal(list(false), 0);
}

static void test_link(void **state) {
  (void)state;
  dump(in_folder("victim"), "mine", 4);
  assert_int_equal(symlink(in_folder("victim"), in_folder("a")), 0);
  assert_refused(fm_fetch(ctx, "https://example.org/a", in_folder("a"), NULL, NULL), "/a", "write");
  struct stat st;
  assert_int_equal(stat(in_folder("victim"), &st), 0);
  assert_int_equal(st.st_size, 4);
}

static void test_endless(void **state) {
  (void)state;
  curl.endless = ((size_t)1 << 37) + 1;
  assert_refused(fm_fetch(ctx, "https://example.org/a", in_folder("a"), NULL, NULL), "/a",
                 "too large");
  assert_int_equal(list(false), 0);
}

int main(void) {
  const struct CMUnitTest tests[] = {TEST(test_https_alone), TEST(test_other_addresses),
                                     TEST(test_ignorant_library), TEST(test_link),
                                     TEST(test_endless)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}
