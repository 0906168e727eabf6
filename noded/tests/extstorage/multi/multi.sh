#!/bin/bash
# In the style of published providers that are one program with many names: what to do says the name
# it was called by. Strict about its volumes' states.
set -u
action=$(basename "$0")
dir=$EXTP_POOL
volume=$dir/$VOL_NAME

die() {
  echo "error: $*" >&2
  exit 1
}

echo "$action" >> "$dir/calls"
case $action in
  create)
    [ -e "$volume" ] && die "$VOL_NAME exists"
    truncate -s "${VOL_SIZE}M" "$volume"
    ;;
  attach)
    [ -e "$volume" ] || die "no such image: $VOL_NAME"
    echo "mapping $VOL_NAME" >&2
    touch "$volume.attached"
    printf '\nkvm:file:%s\n' "$volume"
    ;;
  detach) rm -f "$volume.attached" ;;
  remove)
    [ -e "$volume.attached" ] && die "$VOL_NAME is in use"
    rm "$volume" || die "no such image: $VOL_NAME"
    ;;
  grow)
    [ -e "$volume.attached" ] || die "$VOL_NAME is not attached"
    [ "$VOL_NEW_SIZE" -gt "$VOL_SIZE" ] || die "that is not larger"
    truncate -s "${VOL_NEW_SIZE}M" "$volume"
    ;;
  setinfo | verify) ;;
  snapshot)
    [ -e "$dir/$VOL_SNAPSHOT_NAME" ] && die "$VOL_SNAPSHOT_NAME exists"
    cp "$volume" "$dir/$VOL_SNAPSHOT_NAME"
    ;;
  open)
    [ -e "$volume.attached" ] || die "$VOL_NAME is not attached"
    echo "exclusive=$VOL_OPEN_EXCLUSIVE" > "$volume.open"
    ;;
  close) rm "$volume.open" || die "$VOL_NAME is not open" ;;
  *) die "unknown action $action" ;;
esac
