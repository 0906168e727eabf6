#!/bin/bash
# A Ceph of one machine for tests: a monitor, a manager, an OSD on a file, cephx.
#   ceph.sh up DIR ADDRESS     everything lies in DIR; clients use DIR/ceph.conf
#   ceph.sh down DIR
set -euo pipefail
dir=$2
conf=$dir/ceph.conf
export CEPH_ARGS="--conf $conf"

# within SECONDS COMMAND...: again and again until it succeeds.
within() {
  local left=$1
  shift
  until "$@" >>"$dir/log/up.log" 2>&1; do
    left=$((left - 1))
    [ "$left" -gt 0 ] || { tail -5 "$dir/log/up.log" >&2; echo "never succeeded: $*" >&2; exit 1; }
    sleep 1
  done
}

daemons() { find "$dir/run" -name '*.pid' -exec cat {} + 2>/dev/null || true; }

up() {
  local address=$1 id
  id=$(cat /proc/sys/kernel/random/uuid)
  mkdir -p "$dir"/{mon,mgr,osd,run,log}
  cat >"$conf" <<CONF
[global]
fsid = $id
mon host = [v2:$address:3300,v1:$address:6789]
mon initial members = a
public addr = $address
keyring = $dir/keyring
run dir = $dir/run
admin socket = $dir/run/\$name.\$pid.asok
pid file = $dir/run/\$name.pid
log file = $dir/log/\$name.log
mon data = $dir/mon
mgr data = $dir/mgr
osd data = $dir/osd
osd pool default size = 1
osd pool default min size = 1
osd crush chooseleaf type = 0
mon allow pool size one = true
mon warn on pool no redundancy = false
osd objectstore = bluestore
bluestore block create = true
bluestore block size = 2147483648
osd memory target = 939524096
CONF
  local keys=$dir/keyring all='allow *'
  ceph-authtool --create-keyring "$keys" --gen-key -n mon. --cap mon "$all" >/dev/null
  ceph-authtool "$keys" --gen-key -n client.admin --cap mon "$all" --cap osd "$all" --cap mgr "$all" --cap mds "$all"
  ceph-authtool "$keys" --gen-key -n client.roost --cap mon 'profile rbd' --cap osd 'profile rbd'
  ceph-authtool "$keys" --gen-key -n mgr.x --cap mon "$all" --cap osd "$all" --cap mds "$all"
  ceph-authtool "$keys" --gen-key -n osd.0 --cap mon 'allow profile osd' --cap mgr 'allow profile osd' --cap osd "$all"
  monmaptool --create --clobber --addv a "[v2:$address:3300,v1:$address:6789]" --fsid "$id" "$dir/monmap" >/dev/null
  ceph-mon -i a --mkfs --monmap "$dir/monmap" --keyring "$keys"
  ceph-mon -i a
  within 30 timeout 10 ceph auth import -i "$keys"
  ceph-mgr -i x
  id=$(cat /proc/sys/kernel/random/uuid)
  timeout 30 ceph osd new "$id" >/dev/null
  ceph-osd -i 0 --mkfs --osd-uuid "$id" 2>>"$dir/log/up.log"
  ceph-osd -i 0 >>"$dir/log/up.log"
  within 60 timeout 20 ceph osd pool create rbd 8 8
  within 10 timeout 10 ceph osd pool application enable rbd rbd
  within 60 sh -c 'timeout 10 ceph -s | grep -q "active+clean"'
}

down() {
  local pid
  for pid in $(daemons); do kill -9 "$pid" 2>/dev/null || true; done
}

case $1 in
up) up "$3" ;;
down) down ;;
*) sed -n '2,4p' "$0"; exit 1 ;;
esac
