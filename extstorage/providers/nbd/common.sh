# What all scripts of this provider share: sourced by them, with their directory as the current one.
#
# A volume is a sparse file DIR/VOLUME.img. On each node where it is attached a qemu-nbd serves it at
# a unix socket in /run. Guests open that by its URI; where the kernel has NBD (and EXTP_KERNEL is not
# no), the volume is also a block device.

set -eu
umask 077

DIR=${EXTP_DIR:-/srv/ganeti/extstorage-volumes/nbd}
RUN=/run/ganeti-extstorage/nbd

fail() {
  echo "nbd: $*" >&2
  exit 1
}

# check_name NAME: it becomes part of paths, and of options that commas part.
check_name() {
  case $1 in
    '' | .* | *[!A-Za-z0-9._+-]*) fail "'$1' is not a name of a volume" ;;
  esac
}

# lock: one script at a time works on a volume, on this node and on others that share DIR.
lock() {
  check_name "$VOL_NAME"
  mkdir -p "$DIR" "$RUN"
  # QEMU runs as another user and must reach the sockets.
  chmod 711 "${RUN%/*}" "$RUN"
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

# Paths of unix sockets are 107 characters long at most: long names are shortened, without clashes.
short() {
  if [ ${#VOL_NAME} -le 60 ]; then
    echo "$VOL_NAME"
  else
    printf %s "$VOL_NAME" | sha256sum | cut -c1-40
  fi
}

SOCKET=$RUN/$(short).sock
SERVER=$RUN/$(short).pid
DEVICE=$RUN/$(short).device

# running: the server's process id, if it runs.
running() {
  [ -f "$SERVER" ] || return 1
  pid=$(cat "$SERVER")
  # The number may be another process's by now.
  tr '\0' '\n' <"/proc/$pid/cmdline" 2>/dev/null | grep -qxF -- "--socket=$SOCKET" || return 1
  echo "$pid"
}

# clients: how many are connected to the server.
clients() {
  awk -v path="$SOCKET" '$8 == path && $6 == "03"' /proc/net/unix | wc -l
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

# start: starts the server. Migrations need two at once, one on each node, so QEMU's lock of
# the file is not for us; that is also why nothing may stay in this node's page cache.
start() {
  rm -f "$SOCKET"
  file="driver=raw,file.driver=file,file.locking=off,file.filename=$(image "$VOL_NAME" | sed s/,/,,/g)"
  # No file descriptor of this script may stay with the server: it would keep the lock.
  if ! outside qemu-nbd --fork --persistent --shared=16 --socket="$SOCKET" --pid-file="$SERVER" \
    --cache=none --image-opts "$file" 9>&- </dev/null >/dev/null 2>&1; then
    # This file system cannot be read past the page cache.
    outside qemu-nbd --fork --persistent --shared=16 --socket="$SOCKET" --pid-file="$SERVER" \
      --cache=writeback --image-opts "$file" 9>&- </dev/null >/dev/null ||
      fail "qemu-nbd does not start for '$(image "$VOL_NAME")'"
  fi
  # Debian's libvirt runs QEMU as this user.
  if getent passwd libvirt-qemu >/dev/null; then
    chown libvirt-qemu "$SOCKET"
  fi
}

# stop: ends the server, which has no clients any more.
stop() {
  if pid=$(running); then
    kill "$pid"
    tries=0
    while running >/dev/null; do
      tries=$((tries + 1))
      [ $tries -lt 100 ] || fail "the server of '$VOL_NAME' (process $pid) does not end"
      sleep 0.1
    done
  fi
  rm -f "$SOCKET" "$SERVER"
}

# device: the kernel's device that the volume has on this node, if it has one.
device() {
  [ -f "$DEVICE" ] || return 1
  device=$(cat "$DEVICE")
  # Connected, and by a qemu-nbd for our socket or with it in its place.
  [ -e "/sys/block/${device#/dev/}/pid" ] || return 1
  echo "$device"
}

# connect: makes the volume a block device of the kernel, if that knows how.
connect() {
  [ "${EXTP_KERNEL:-yes}" != no ] || return 0
  [ -b /dev/nbd0 ] || return 0
  device >/dev/null && return 0
  # One script at a time looks for a free device.
  exec 8>"$RUN/.devices"
  flock 8
  for device in /dev/nbd[0-9] /dev/nbd[0-9][0-9]; do
    [ -b "$device" ] && [ ! -e "/sys/block/${device#/dev/}/pid" ] || continue
    echo "$device" >"$DEVICE"
    if outside qemu-nbd --connect="$device" --format=raw "nbd:unix:$SOCKET" 8>&- 9>&- </dev/null >/dev/null; then
      exec 8>&-
      return 0
    fi
    rm -f "$DEVICE"
  done
  exec 8>&-
  fail "no NBD device of the kernel can be connected (modprobe nbd nbds_max=64 makes more)"
}

# disconnect: takes the kernel's device away.
disconnect() {
  if device=$(device); then
    blockdev --flushbufs "$device"
    qemu-nbd --disconnect "$device" >/dev/null
    tries=0
    while device >/dev/null; do
      tries=$((tries + 1))
      [ $tries -lt 100 ] || fail "'$device' cannot be disconnected"
      sleep 0.1
    done
  fi
  rm -f "$DEVICE"
}
