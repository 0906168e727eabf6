# What all scripts of this provider share: sourced by them, with their directory as the current one.
#
# A volume is a sparse file DIR/VOLUME.img. On each node where it is attached it is LUN 1 of a target
# of its own of a tgtd that this provider starts and, with the last target, ends. Guests open it by
# its URI with QEMU's own initiator; with kernel=yes the node's initiator makes it a block device.

set -eu
umask 077

DIR=${EXTP_DIR:-/srv/ganeti/extstorage-volumes/iscsi}
PORTAL=${EXTP_PORTAL:-127.0.0.1:3261}
RUN=/run/ganeti-extstorage/iscsi
# tgtd's door for tgtadm: one that Debian's own service does not use.
CONTROL=32610
PREFIX=iqn.2026-11.extstorage.ganeti

fail() {
  echo "iscsi: $*" >&2
  exit 1
}

# check_name NAME: it becomes part of paths and of a target's name.
check_name() {
  case $1 in
    '' | .* | *[!a-z0-9.-]*) fail "'$1' is not a name of a volume: a target's name has small letters, digits, points and dashes" ;;
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

# lock_targets: one script at a time starts and ends tgtd and gives numbers to targets.
lock_targets() {
  exec 8>"$RUN/.targets"
  flock 8
}

unlock_targets() {
  exec 8>&-
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

tgt() {
  tgtadm -C $CONTROL --lld iscsi "$@"
}

targets() {
  tgt --op show --mode target 2>/dev/null
}

# target: the number of the volume's target, if it has one.
target() {
  targets | awk -v name="$PREFIX:$VOL_NAME" '$1 == "Target" && $3 == name { sub(":", "", $2); print $2; found = 1 } END { exit !found }'
}

# in_use NUMBER: somebody is connected.
in_use() {
  targets | awk -v number="$1:" '$1 == "Target" { ours = $2 == number } ours && $1 == "Connection:" { found = 1 } END { exit !found }'
}

# outside COMMAND...: starts a daemon that goes on when noded is restarted: systemd would end it with
# noded unless it has a unit of its own.
outside() {
  if [ -d /run/systemd/system ] && command -v systemd-run >/dev/null; then
    systemd-run --quiet --collect --scope -- "$@"
  else
    "$@"
  fi
}

# serve: makes the volume's target, and starts tgtd if it does not run.
serve() {
  command -v tgtd >/dev/null || fail "tgtd is missing: install the package 'tgt'"
  lock_targets
  if ! targets >/dev/null; then
    # No file descriptor of this script may stay with the daemon: it would keep the locks.
    outside tgtd -C $CONTROL --iscsi "portal=$PORTAL" 8>&- 9>&- </dev/null >"$RUN/tgtd.log" 2>&1 ||
      fail "tgtd does not start with portal '$PORTAL': $(tail -n 3 "$RUN/tgtd.log")"
    tries=0
    until targets >/dev/null; do
      tries=$((tries + 1))
      [ $tries -lt 100 ] || fail "tgtd does not answer: $(tail -n 3 "$RUN/tgtd.log")"
      sleep 0.1
    done
  fi
  if ! target >/dev/null; then
    number=$(targets | awk '$1 == "Target" { sub(":", "", $2); if ($2 > n) n = $2 } END { print n + 1 }')
    tgt --op new --mode target --tid "$number" -T "$PREFIX:$VOL_NAME"
    if ! fill_target "$number"; then
      tgt --op delete --mode target --tid "$number" || true
      fail "tgtd cannot serve '$(image "$VOL_NAME")'"
    fi
  fi
  unlock_targets
}

# fill_target NUMBER: gives the target its LUN. Past the page cache where the file system can: while
# a guest moves, two nodes read and write the file.
fill_target() {
  image=$(image "$VOL_NAME")
  tgt --op new --mode logicalunit --tid "$1" --lun 1 --bsoflags direct -b "$image" 2>/dev/null ||
    tgt --op new --mode logicalunit --tid "$1" --lun 1 --bsoflags sync -b "$image" || return 1
  tgt --op bind --mode target --tid "$1" -I ALL
}

# unserve: removes the volume's target; with the last one tgtd ends.
unserve() {
  lock_targets
  if number=$(target); then
    # Whoever closed it a moment ago may still be seen.
    tries=0
    while in_use "$number"; do
      tries=$((tries + 1))
      [ $tries -lt 20 ] || fail "volume '$VOL_NAME' is in use"
      sleep 0.1
    done
    tgt --op delete --mode target --tid "$number"
  fi
  if targets >/dev/null && [ -z "$(targets)" ]; then
    tgt --op delete --mode system
  fi
  unlock_targets
}

# node_device: the block device of the volume on this node, once the node's initiator has it.
node_device() {
  link=/dev/disk/by-path/ip-$PORTAL-iscsi-$PREFIX:$VOL_NAME-lun-1
  [ -e "$link" ] && readlink -f "$link"
}

iscsi() {
  iscsiadm --mode node --targetname "$PREFIX:$VOL_NAME" --portal "$PORTAL" "$@"
}

# login: makes it a block device.
login() {
  node_device >/dev/null && return 0
  command -v iscsiadm >/dev/null ||
    fail "kernel=yes needs the node's iSCSI initiator: install the package 'open-iscsi', or use access=userspace and kernel=no"
  iscsi --op new >/dev/null
  iscsi --login >/dev/null
  tries=0
  until node_device >/dev/null; do
    tries=$((tries + 1))
    [ $tries -lt 100 ] || fail "the node is logged in, but there is no block device of '$VOL_NAME'"
    sleep 0.1
  done
}

# logout: takes the block device away.
logout() {
  command -v iscsiadm >/dev/null || return 0
  if device=$(node_device); then
    blockdev --flushbufs "$device"
    iscsi --logout >/dev/null
    iscsi --op delete >/dev/null
  fi
}
