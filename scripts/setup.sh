#!/bin/sh
# Installs the Debian packages that building, testing and the lab need, and only those that are missing.
# When everything is there it calls apt for nothing and needs neither root nor a network.
set -eu
PATH="$PATH:/usr/local/sbin:/usr/sbin:/sbin"
export PATH

missing=''
need() { # need PACKAGE TEST...
  package=$1
  shift
  "$@" >/dev/null 2>&1 || missing="$missing $package"
}
command_of() { need "$2" command -v "$1"; }
any_file() { for file in "$@"; do [ -e "$file" ] && return 0; done; return 1; }

command_of gcc gcc
command_of musl-gcc musl-tools
command_of make make
command_of clang clang
command_of llvm-strip llvm
command_of bpftool bpftool
command_of ip iproute2
command_of tc iproute2
command_of nsenter util-linux
command_of ethtool ethtool
command_of ping iputils-ping
command_of ndisc6 ndisc6
command_of runc runc
command_of iperf3 iperf3
command_of tcpdump tcpdump
command_of openssl openssl
command_of pkill procps
command_of mount mount
command_of nft nftables
command_of qperf qperf
need libfaketime any_file /usr/lib/*-linux-gnu/faketime/libfaketimeMT.so.1
command_of npm npm
command_of mmdebstrap mmdebstrap
command_of fio fio
command_of lvm lvm2
command_of thin_ls thin-provisioning-tools
command_of mdadm mdadm
command_of mkfs.ext4 e2fsprogs
command_of mkfs.xfs xfsprogs
command_of mkfs.btrfs btrfs-progs
command_of modprobe kmod
command_of xz xz-utils
# The guest of the tests (test/guest) is of this architecture.
if [ "$(uname -m)" = x86_64 ]; then
  command_of qemu-system-x86_64 qemu-system-x86
  need busybox-static any_file /bin/busybox
fi
need libc6-dev any_file /usr/lib/*/libc.a /usr/lib/libc.a
need linux-libc-dev any_file /usr/include/linux/bpf.h
need libbpf-dev any_file /usr/include/bpf/bpf_helpers.h
need containernetworking-plugins any_file /usr/lib/cni/bridge

missing=$(printf '%s\n' $missing | sort -u | tr '\n' ' ')
[ -n "$(printf %s "$missing" | tr -d ' ')" ] || exit 0

if ! command -v apt-get >/dev/null 2>&1; then
  echo "setup: missing: $missing" >&2
  echo "setup: this machine has no apt-get; install what provides them with your package manager, then repeat." >&2
  exit 1
fi
if [ "$(id -u)" -ne 0 ]; then
  echo "setup: missing packages: $missing" >&2
  echo "setup: installing them needs root. Run: sudo make setup" >&2
  exit 1
fi

echo "setup: installing $missing"
DEBIAN_FRONTEND=noninteractive
export DEBIAN_FRONTEND
install() { apt-get -qq -o DPkg::Lock::Timeout=300 install -y --no-install-recommends $missing >/dev/null; }
# Package lists that are there and current save an update; stale or absent ones make the first attempt fail.
if install 2>/dev/null; then exit 0; fi
apt-get -qq -o DPkg::Lock::Timeout=300 update || true # one broken source need not stop the others
if install; then exit 0; fi
echo "setup: apt-get could not install: $missing" >&2
echo "setup: if this machine is offline, connect it or install them from your own mirror, then repeat." >&2
exit 1
