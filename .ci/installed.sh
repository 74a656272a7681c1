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
record=share/flowmap/installed.txt

# Removes the files of the list $1 that are not in the list $2.
remove_files() {
  LC_ALL=C comm -23 "$1" "$2" | while IFS= read -r name; do
    case /$name in */../* | */) ;; *) rm -f "$to/$name" ;; esac
  done
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

install_tree() {
  (cd "$stage" && find . -type d ! -name . | sed 's,^\./,,') | LC_ALL=C sort >"$list.folders"
  (cd "$stage" && find . ! -type d | sed 's,^\./,,') | LC_ALL=C sort >"$list.files"
  grep '/$' "$list.old" >"$list.new" || :
  [ -d "$to" ] || { mkdir -p "$to"; echo ./ >>"$list.new"; }
  while IFS= read -r name; do
    [ -d "$to/$name" ] || { mkdir "$to/$name"; echo "$name/" >>"$list.new"; }
  done <"$list.folders"
  while IFS= read -r name; do
    if [ -L "$stage/$name" ]; then
      ln -sfn "$(readlink "$stage/$name")" "$to/$name"
    else
      mode=644
      [ ! -x "$stage/$name" ] || mode=755
      install -m "$mode" "$stage/$name" "$to/$name"
    fi
  done <"$list.files"
  { cat "$list.files" "$list.new"; echo "$record"; } | LC_ALL=C sort -u >"$list.all"
  remove_files "$list.old" "$list.all"
  install -m 644 "$list.all" "$to/$record"
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
