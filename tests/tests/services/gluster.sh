#!/bin/bash
# A Gluster volume `gv0` of one machine for tests.
#   gluster.sh up DIR ADDRESS     the brick and all state lie in DIR
#   gluster.sh down DIR
set -euo pipefail
dir=$2

# Its daemons have their paths built in: they get mounts of their own.
inside() {
  mkdir -p "$dir"/{run,state,log,brick}
  mount -t tmpfs tmpfs /run
  mkdir -p /run/gluster
  mkdir -p /var/lib/glusterd /var/log/glusterfs
  mount --bind "$dir/state" /var/lib/glusterd
  mount --bind "$dir/log" /var/log/glusterfs
  mkdir -p /var/log/glusterfs/bricks
  glusterd --pid-file "$dir/run/glusterd.pid"
  local tries=60
  until gluster --mode=script volume info >/dev/null 2>&1; do
    tries=$((tries - 1))
    [ "$tries" -gt 0 ] || { tail -5 "$dir"/log/*.log >&2; exit 1; }
    sleep 0.5
  done
  gluster --mode=script volume create gv0 "$1:$dir/brick" force
  gluster --mode=script volume set gv0 server.allow-insecure on >/dev/null
  gluster --mode=script volume start gv0
}

case $1 in
up) unshare --mount --propagation private "$0" inside "$dir" "$3" ;;
inside) inside "$3" ;;
down)
  # shellcheck disable=SC2009 # by what they were started with: bricks have no pid file of ours
  for pid in $(ps -eo pid,args | grep -F "$dir" | grep -E 'gluster' | grep -v -e grep -e "$0" | awk '{print $1}'); do
    kill -9 "$pid" 2>/dev/null || true
  done
  ;;
*) sed -n '2,4p' "$0"; exit 1 ;;
esac
