# What the scripts of this OS definition share. Sourced, not run.
set -eu

# Made by scripts/build-tiny-guest; nothing is downloaded here.
TINY_DIR=/var/lib/roost/tiny
# Where the FAT partition starts in the disk, in bytes.
TINY_FAT_OFFSET=1048576

fail() {
  echo "tiny: $*" >&2
  exit 1
}

need() {
  for program; do
    command -v "$program" >/dev/null || fail "program $program is missing (packages mtools, qemu-utils)"
  done
}

# format_of INDEX: raw or qcow2.
format_of() {
  eval "format=\${DISK_$1_FORMAT:-raw}"
  case $format in
    raw | qcow2) echo "$format" ;;
    *) fail "disk $1 has format $format: only raw and qcow2 can be written" ;;
  esac
}

# scratch: a file name that vanishes with the script, in $scratch.
scratch() {
  scratch_dir=$(mktemp -d)
  trap 'rm -rf "$scratch_dir"' EXIT
  trap 'exit 1' HUP INT TERM
  scratch=$scratch_dir/disk
}

# get_conf RAW and put_conf RAW: the guest's settings, from and to standard input and output.
get_conf() { MTOOLS_SKIP_CHECK=1 mtype -i "$1@@$TINY_FAT_OFFSET" ::tiny.conf; }
put_conf() { MTOOLS_SKIP_CHECK=1 mcopy -o -i "$1@@$TINY_FAT_OFFSET" - ::tiny.conf; }

# is_address TEXT: four numbers and perhaps a prefix length.
is_address() {
  echo "$1" | awk -F'[./]' '
    !/^[0-9]+\.[0-9]+\.[0-9]+\.[0-9]+(\/[0-9]+)?$/ { exit 1 }
    { for (i = 1; i <= 4; i++) if ($i > 255) exit 1; if (NF == 5 && $5 > 32) exit 1 }'
}
