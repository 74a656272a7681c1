/*
** libarchive.h - libarchive, loaded when the first archive is opened and called by the names of its
** own header. Linking it would cost every start of the program fifteen libraries and 40 MB of
** address space. Included by archive.c alone; a function missing from this list fails to link.
*/
#ifndef FM_IO_LIBARCHIVE_H
#define FM_IO_LIBARCHIVE_H

#include <archive.h>
#include <archive_entry.h>

#include "../fm.h"
#include "../symbol.h"

#define FM_ARCHIVE(X)                                                                              \
  X(archive_entry_filetype)                                                                        \
  X(archive_entry_free)                                                                            \
  X(archive_entry_hardlink)                                                                        \
  X(archive_entry_new2)                                                                            \
  X(archive_entry_pathname)                                                                        \
  X(archive_entry_pathname_utf8)                                                                   \
  X(archive_entry_size)                                                                            \
  X(archive_entry_size_is_set)                                                                     \
  X(archive_errno)                                                                                 \
  X(archive_error_string)                                                                          \
  X(archive_read_data)                                                                             \
  X(archive_read_free)                                                                             \
  X(archive_read_new)                                                                              \
  X(archive_read_next_header2)                                                                     \
  X(archive_read_open1)                                                                            \
  X(archive_read_open_filename)                                                                    \
  X(archive_read_set_callback_data)                                                                \
  X(archive_read_set_options)                                                                      \
  X(archive_read_set_read_callback)                                                                \
  X(archive_read_support_filter_bzip2)                                                             \
  X(archive_read_support_filter_xz)                                                                \
  X(archive_read_support_filter_zstd)                                                              \
  X(archive_read_support_format_tar)                                                               \
  X(archive_read_support_format_zip_seekable)                                                      \
  X(archive_set_error)

#define MEMBER(name) __typeof__(name) *name;
static struct { FM_ARCHIVE(MEMBER) } fm_archive;
#undef MEMBER

/*
** Does nothing if the library is loaded already. FM_EDATA: the library, or one of the functions, is
** missing.
*/
static fm_err load_libarchive(fm_ctx *ctx) {
  static void *library;
  bool all = true;
  if (library) return FM_OK;
  library = dlopen(FM_SHARED("archive", "13"), RTLD_LAZY | RTLD_LOCAL);
  if (library == NULL)
    return fm_fail(ctx, FM_EDATA, "archives need libarchive, which could not be loaded: %.300s",
                   dlerror());
#define FIND(name) all = fm_symbol(library, #name, &fm_archive.name) && all;
  FM_ARCHIVE(FIND)
#undef FIND
  if (all) return FM_OK;
  dlclose(library);
  library = NULL;
  return fm_fail(ctx, FM_EDATA,
                 "archives need another version of libarchive than the one installed");
}

#define archive_entry_filetype fm_archive.archive_entry_filetype
#define archive_entry_free fm_archive.archive_entry_free
#define archive_entry_hardlink fm_archive.archive_entry_hardlink
#define archive_entry_new2 fm_archive.archive_entry_new2
#define archive_entry_pathname fm_archive.archive_entry_pathname
#define archive_entry_pathname_utf8 fm_archive.archive_entry_pathname_utf8
#define archive_entry_size fm_archive.archive_entry_size
#define archive_entry_size_is_set fm_archive.archive_entry_size_is_set
#define archive_errno fm_archive.archive_errno
#define archive_error_string fm_archive.archive_error_string
#define archive_read_data fm_archive.archive_read_data
#define archive_read_free fm_archive.archive_read_free
#define archive_read_new fm_archive.archive_read_new
#define archive_read_next_header2 fm_archive.archive_read_next_header2
#define archive_read_open1 fm_archive.archive_read_open1
#define archive_read_open_filename fm_archive.archive_read_open_filename
#define archive_read_set_callback_data fm_archive.archive_read_set_callback_data
#define archive_read_set_options fm_archive.archive_read_set_options
#define archive_read_set_read_callback fm_archive.archive_read_set_read_callback
#define archive_read_support_filter_bzip2 fm_archive.archive_read_support_filter_bzip2
#define archive_read_support_filter_xz fm_archive.archive_read_support_filter_xz
#define archive_read_support_filter_zstd fm_archive.archive_read_support_filter_zstd
#define archive_read_support_format_tar fm_archive.archive_read_support_format_tar
#define archive_read_support_format_zip_seekable fm_archive.archive_read_support_format_zip_seekable
#define archive_set_error fm_archive.archive_set_error

#endif
