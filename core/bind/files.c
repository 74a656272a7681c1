/*
** files.c - folders in Lua: private folders, names in a folder, write permission, leftovers of
** killed writers.
*/
#include <dirent.h>
#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "bind.h"
#include "../io/io.h"

static const char folder_type[] = "flowmap.folder";

/* ------------------------------------------------------------------ private folders */

typedef struct folder_box {
  const char *type;
  char path[PATH_MAX]; /* "" once removed */
} folder_box;

static int folder_close(lua_State *L) {
  folder_box *b = bind_box(L, 1, folder_type, sizeof *b);
  if (b == NULL || b->path[0] == '\0') return 0;
  fm_private_remove(b->path);
  b->path[0] = '\0';
  return 0;
}

/* A finaliser that keeps the folder until the process exits: its path may still be in use. */
static int folder_keep(lua_State *L) {
  (void)L;
  return 0;
}

/*
** local path, folder <close> = fm.private_folder(): only this user can enter it. It is removed with
** its contents when `folder` is closed or the process exits.
*/
static int private_folder(lua_State *L) {
  folder_box *b = bind_new_box(L, folder_type, sizeof *b);
  if (fm_private_folder(bind_ctx(L), b->path) != FM_OK) {
    b->path[0] = '\0';
    bind_raise(L);
  }
  lua_pushstring(L, b->path);
  lua_insert(L, -2);
  return 2;
}

/* ------------------------------------------------------------------ listing */

static const char listing_type[] = "flowmap.listing";

typedef struct listing {
  const char *type;
  DIR *dir; /* NULL once closed */
} listing;

static int listing_close(lua_State *L) {
  DIR *dir = bind_take(L, listing_type);
  if (dir) closedir(dir);
  return 0;
}

/*
** core.folder_names(path): the names in a folder, in no order. Unlike lfs.dir, which takes an error
** of the device for the end of the folder, it raises one.
*/
static int folder_names(lua_State *L) {
  const char *path = bind_path(L, 1);
  listing *b = bind_new_box(L, listing_type, sizeof *b);
  if ((b->dir = opendir(path)) == NULL)
    bind_fail(L, errno == ENOMEM ? FM_ENOMEM : FM_EDATA, "cannot list the folder %s: %s", path,
              strerror(errno));
  lua_newtable(L);
  const struct dirent *e;
  for (lua_Integer n = 0; errno = 0, (e = readdir(b->dir)) != NULL;) {
    if (strcmp(e->d_name, ".") == 0 || strcmp(e->d_name, "..") == 0) continue;
    lua_pushstring(L, e->d_name);
    lua_seti(L, -2, ++n);
  }
  if (errno != 0) bind_fail(L, FM_EDATA, "cannot list the folder %s: %s", path, strerror(errno));
  closedir(b->dir);
  b->dir = NULL;
  return 1;
}

static int folder_writable(lua_State *L) { /* whether files can be created in a folder */
  lua_pushboolean(L, access(bind_path(L, 1), W_OK | X_OK) == 0);
  return 1;
}

/* core.sweep(path): remove the temporary files of writers of that path that were killed. */
static int sweep(lua_State *L) {
  fm_sweep(bind_path(L, 1));
  return 0;
}

void bind_open_files(lua_State *L) {
  static const bind_reg functions[] = {{"private_folder", private_folder, 0},
                                       {"folder_writable", folder_writable, 1},
                                       {"folder_names", folder_names, 1},
                                       {"sweep", sweep, 1},
                                       {NULL, NULL, 0}};
  static const bind_reg methods[] = {{"close", folder_close, 0}, {NULL, NULL, 0}};
  static const bind_reg none[] = {{NULL, NULL, 0}};
  bind_set(L, functions);
  bind_new_type(L, listing_type, none, listing_close);
  lua_pop(L, 1);
  bind_new_type(L, folder_type, methods, folder_keep);
  lua_pop(L, 1);
  luaL_getmetatable(L, folder_type);
  lua_pushcfunction(L, folder_close);
  lua_setfield(L, -2, "__close");
  lua_pop(L, 1);
}
