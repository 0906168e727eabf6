#!/bin/sh
# The nodes of a cluster as targets for Prometheus (file_sd): prints JSON.
#   targets.sh [FILE [PORT]]      FILE: a list of names, one a line; else the one every node has
# On a node, from cron:
#   targets.sh >/etc/prometheus/.nodes && mv /etc/prometheus/.nodes /etc/prometheus/ganeti-nodes.json
set -eu
nodes=${1:-/var/lib/ganeti/ssconf_node_list}
port=${2:-1815}
dir=$(dirname "$nodes")
cluster=$(cat "$dir/ssconf_cluster_name" 2>/dev/null || echo unknown)
awk -v port="$port" -v cluster="$cluster" '
  BEGIN { printf "[{\"labels\": {\"cluster\": \"%s\"}, \"targets\": [", cluster }
  NF { printf "%s\"%s:%s\"", n++ ? ", " : "", $1, port }
  END { print "]}]" }
' "$nodes"
