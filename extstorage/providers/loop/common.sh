# What all scripts of this provider share: sourced by them, with their directory as the current one.
#
# A volume is a sparse file DIR/VOLUME.img. Which loop device it has on this node is remembered in
# /run: on machines that share a kernel (containers) others have loop devices of the same file.

set -eu
umask 077

DIR=${EXTP_DIR:-/srv/ganeti/extstorage-volumes/loop}
RUN=/run/ganeti-extstorage/loop

fail() {
  echo "loop: $*" >&2
  exit 1
}

# check_name NAME: it becomes part of a path.
check_name() {
  case $1 in
    '' | .* | */*) fail "'$1' is not a name of a volume" ;;
  esac
}

# lock: one script at a time works on a volume, on this node and on others that share DIR.
lock() {
  check_name "$VOL_NAME"
  mkdir -p "$DIR" "$RUN"
  while :; do
    exec 9>"$DIR/.$VOL_NAME.lock"
    flock 9
    # `remove` takes the file away: whoever waited for it has to wait for the next one.
    [ "$DIR/.$VOL_NAME.lock" -ef /proc/self/fd/9 ] && break
  done
}

# missing: says that the volume is, and leaves no lock of it.
missing() {
  rm -f "$DIR/.$VOL_NAME.lock"
  fail "there is no volume '$VOL_NAME' in '$DIR'"
}

image() {
  echo "$DIR/$1.img"
}

# size_of FILE: in bytes.
size_of() {
  stat -c %s "$1"
}

# device: the loop device that the volume has on this node, if it has one.
device() {
  [ -f "$RUN/$VOL_NAME" ] || return 1
  device=$(cat "$RUN/$VOL_NAME")
  [ -b "$device" ] || return 1
  # The device may be somebody else's by now: it is ours if its file is ours.
  there=$(losetup --noheadings --output BACK-MAJ:MIN,BACK-INO "$device" 2>/dev/null) || return 1
  ours=$(stat -c '%Hd:%Ld %i' "$(image "$VOL_NAME")" 2>/dev/null) || return 1
  # losetup pads its columns.
  [ "$(echo $there)" = "$ours" ] || return 1
  echo "$device"
}
