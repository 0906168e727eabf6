#!/bin/bash
# Installs what the build, the lab and its guest need, on a bare Debian 12 (or newer), as root, and makes the
# users of the daemons. Does nothing when everything is there.
#   install-deps.sh --services    also Ceph, Gluster and Prometheus, which `make test-full` tries
set -euo pipefail

build=(ca-certificates gcc libc6-dev make pkg-config)
lab=(busybox-static curl etcd-client etcd-server iproute2 iputils-arping nftables openssh-client procps tgt util-linux)
guest=(cpio dosfstools fdisk kmod mtools syslinux syslinux-common)
uml=(e2fsprogs mmdebstrap user-mode-linux)
virt=(libvirt-clients libvirt-daemon libvirt-daemon-driver-qemu libvirt-daemon-system libvirt-dev
  qemu-block-extra qemu-system-x86 qemu-utils seabios)
# Gluster must come from where QEMU does: they share a library.
services=()
case ${1:-} in
  --services)
    services=(ceph-common ceph-mgr ceph-mon ceph-osd prometheus)
    virt+=(glusterfs-client glusterfs-server)
    ;;
esac
backports=/etc/apt/sources.list.d/roost-backports.list

fail() {
  echo "install-deps: $*" >&2
  exit 1
}

# missing PACKAGE...: those not installed, one a line.
missing() {
  local package
  for package; do
    [ "$(dpkg-query -W -f '${db:Status-Status}' "$package" 2>/dev/null || true)" = installed ] || echo "$package"
  done
}

# has_backport PACKAGE: apt can install a backported version.
has_backport() {
  [[ $(apt-cache madison "$1") == *~bpo12* ]]
}

# mirror: the address this machine already gets Debian 12 from.
mirror() {
  # Only some of these files exist, so failures say nothing.
  { sed -n 's/^URIs: *\([^ ]*\).*/\1/p' /etc/apt/sources.list.d/*.sources
    sed -n 's/^deb \(\[[^]]*\] \)\?\([^ ]*\) .*/\2/p' /etc/apt/sources.list /etc/apt/sources.list.d/*.list
  } 2>/dev/null | awk '!/security/ && !found { print; found = 1 }' || true
}

apt() {
  DEBIAN_FRONTEND=noninteractive apt-get -q -y -o DPkg::Lock::Timeout=600 "$@"
}

# rust: the compiler, by its own installer, where there is none: Debian 12's is too old. Which
# version is wanted says rust-toolchain.toml; it is fetched at the first build.
rust() {
  local cargo=$HOME/.cargo/bin/cargo
  if command -v cargo >/dev/null || [ -x "$cargo" ]; then
    return
  fi
  echo "installing Rust with rustup (https://rustup.rs) into $HOME/.cargo"
  curl --proto '=https' --tlsv1.2 -sSf https://sh.rustup.rs |
    sh -s -- -y --no-modify-path --profile minimal --default-toolchain none ||
    fail "Rust could not be installed; install it by hand (https://rustup.rs) and try again"
}

# users: whom daemons become that need not be root; as dist/sysusers.d has them.
users() {
  local user
  for user in gnt-confd gnt-mond; do
    getent passwd $user >/dev/null && continue
    [ "$(id -u)" = 0 ] || fail "the user $user is missing: run it as root"
    useradd --system --user-group --no-create-home --home-dir / --shell /usr/sbin/nologin $user
    echo "made the user $user"
  done
}

mapfile -t plain < <(missing "${build[@]}" "${lab[@]}" "${guest[@]}" "${uml[@]}" "${services[@]}")
mapfile -t pair < <(missing "${virt[@]}")
if [ $((${#plain[@]} + ${#pair[@]})) -eq 0 ]; then
  echo "all packages are installed"
  users
  rust
  exit 0
fi

[ "$(id -u)" = 0 ] || fail "packages are missing (${plain[*]} ${pair[*]}): run it as root"
[ -x /usr/bin/apt-get ] || fail "only Debian is known here; the packages are: ${plain[*]} ${pair[*]}"
codename=$(. /etc/os-release && echo "${VERSION_CODENAME:-}")

apt update
if [ ${#plain[@]} -gt 0 ]; then
  apt install --no-install-recommends "${plain[@]}"
  # Debian starts an etcd of its own; the lab and the tests start theirs.
  if [[ " ${plain[*]} " == *" etcd-server "* ]] && [ -d /run/systemd/system ]; then
    systemctl disable --now etcd
  fi
  # So does Prometheus.
  if [[ " ${plain[*]} " == *" prometheus "* ]] && [ -d /run/systemd/system ]; then
    systemctl disable --now prometheus
  fi
  # So does Ceph, where there is a configuration: there is none. So does tgt; the provider iscsi
  # starts its own.
  if [[ " ${plain[*]} " == *" tgt "* ]] && [ -d /run/systemd/system ]; then
    systemctl disable --now tgt
  fi
fi
if [ ${#pair[@]} -gt 0 ]; then
  suite=()
  # QEMU and libvirt must come from the same place: mixed, they cannot be installed together.
  # Debian 12's backports have newer ones, and some images come with a tool of theirs already.
  if [ "$codename" = bookworm ]; then
    if ! has_backport qemu-system-x86; then
      from=$(mirror)
      [ -n "$from" ] || fail "no mirror of Debian 12 found below /etc/apt: add bookworm-backports by hand"
      echo "deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] $from bookworm-backports main" >$backports
      apt update || true
    fi
    if has_backport qemu-system-x86 && has_backport libvirt-daemon; then
      suite=(-t bookworm-backports)
    else
      rm -f $backports
      apt update
      echo "no backports of QEMU and libvirt on this mirror: taking Debian 12's own"
    fi
  fi
  # All of them, not only the missing: a half from the other place would be kept.
  apt install --no-install-recommends "${suite[@]}" "${virt[@]}"
fi
echo "all packages are installed"
users
rust
