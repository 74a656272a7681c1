#!/bin/sh
# Copy a tree of files below a prefix, or remove exactly what was copied.
#
#   .ci/installed.sh install STAGE PREFIX      .ci/installed.sh uninstall PREFIX
#
# The record share/flowmap/installed.txt lists the files and the folders that did not exist before.
# A later installation adds to it and removes what it no longer contains; `uninstall` removes the
# files, then the folders of the record as far as they are empty. Other people's files, and folders
# that were empty before, stay.
set -eu
unset CDPATH TAR_OPTIONS # with these, cd would print where it went, and tar do what they say
umask 022 # folders that all may enter, as the files are those that all may read
record=share/flowmap/installed.txt

# Removes the files of the list $1 that are not in the list $2.
remove_files() {
  LC_ALL=C comm -23 "$1" "$2" | grep -v -e '/$' -e '^\(.*/\)\{0,1\}\.\./' | sed 's,^,./,' |
    tr '\n' '\0' | (cd "$to" && xargs -0 rm -f)
}

# Removes the folders of the list $1 that are empty, the innermost first.
remove_folders() {
  LC_ALL=C sort -r "$1" | while IFS= read -r name; do
    case /$name in
      */../*) ;;
      /./) rmdir "$to" 2>/dev/null || : ;;
      */) rmdir "$to/$name" 2>/dev/null || : ;;
    esac
  done
}

# Copies the files and links of the list $1, with modes 644 and 755 and the time of now. An archive,
# since tar replaces a program that is running, which cp does not, and takes one process for all.
copy_files() {
  chmod -R u=rwX,go=rX "$stage"
  sed 's,^,./,' "$1" >"$list.names"
  tar -C "$stage" -cf "$list.tar" -T "$list.names"
  tar -C "$to" -xpomf "$list.tar"
}

install_tree() {
  (cd "$stage" && find . -type d ! -name . | sed 's,^\./,,') | LC_ALL=C sort >"$list.folders"
  (cd "$stage" && find . ! -type d | sed 's,^\./,,') | LC_ALL=C sort >"$list.files"
  grep '/$' "$list.old" >"$list.new" || :
  [ -d "$to" ] || { mkdir -p "$to"; echo ./ >>"$list.new"; }
  while IFS= read -r name; do
    [ -d "$to/$name" ] || { mkdir "$to/$name"; echo "$name/" >>"$list.new"; }
  done <"$list.folders"
  { cat "$list.files" "$list.new"; echo "$record"; } | LC_ALL=C sort -u >"$list.all"
  # Recorded before it is copied: what an interrupted installation left can be removed.
  LC_ALL=C sort -u "$list.old" "$list.all" >"$list.both"
  write_record "$list.both"
  copy_files "$list.files"
  remove_files "$list.old" "$list.all"
  write_record "$list.all"
}

# Makes the list $1 the record, as a whole or not at all.
write_record() {
  install -m 644 "$1" "$to/$record.new" && mv -f "$to/$record.new" "$to/$record"
}

list=$(mktemp)
trap 'rm -f "$list" "$list".*' EXIT
command=$1
[ "$command" = uninstall ] || { stage=$2; shift; }
to=$2
LC_ALL=C sort "$to/$record" >"$list.old" 2>/dev/null || : >"$list.old"
if [ "$command" = install ]; then
  install_tree
elif [ ! -s "$list.old" ]; then
  echo "flowmap: uninstall: nothing is installed below $to" >&2
else
  remove_files "$list.old" "$list"
  remove_folders "$list.old"
fi
