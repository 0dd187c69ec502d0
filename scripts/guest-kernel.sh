#!/bin/sh
# Fetches the Linux kernel that the guest of the tests boots (test/guest): Debian's 6.12 with its modules, unpacked and
# not installed, so that the machine's own boot files stay as they are. It is kept in the user's cache, so that another
# checkout finds it; build/guest/kernel links there.
set -eu
cd "$(dirname "$0")/.."
link=build/guest/kernel
[ -e "$link/vmlinuz" ] && exit 0
[ "$(uname -m)" = x86_64 ] || exit 0 # the guest is of this architecture only

cache=${XDG_CACHE_HOME:-${HOME:-/root}/.cache}/carbonado/guest-kernel
# The package that stands for the newest kernel of its series, and what it depends on now.
newest() {
  for series in linux-image-6.12-amd64 linux-image-amd64; do
    apt-cache depends "$series" 2>/dev/null | sed -n 's/.*Depends: \(linux-image-\(6\.1[2-9]\|6\.[2-9][0-9]\|[7-9]\)[^ ]*\)$/\1/p' | head -1 | grep . && return
  done
  return 1
}

fetch() {
  mkdir -p "$cache"
  scratch=$(mktemp -d "$cache/.fetch.XXXXXX")
  trap 'rm -rf "$scratch"' EXIT
  package=$(newest) || { apt-get -qq -o DPkg::Lock::Timeout=300 update >/dev/null || true; package=$(newest) || true; }
  if [ -z "$package" ]; then
    echo "guest-kernel: no package of Linux 6.12 or newer in the sources of apt; add Debian's security or backports suite." >&2
    exit 1
  fi
  (cd "$scratch" && apt-get -qq -o APT::Sandbox::User=root download "$package" >/dev/null) ||
    { apt-get -qq -o DPkg::Lock::Timeout=300 update >/dev/null || true
      (cd "$scratch" && apt-get -qq -o APT::Sandbox::User=root download "$package" >/dev/null); }
  dpkg-deb -x "$scratch"/*.deb "$scratch/x"
  release=$(basename "$scratch"/x/lib/modules/*)
  mv "$scratch/x/boot/vmlinuz-$release" "$scratch/x/vmlinuz"
  depmod -b "$scratch/x" "$release"
  mv -T "$scratch/x" "$cache/$release" 2>/dev/null || [ -d "$cache/$release" ] # another fetch may have been faster
}

[ -n "$(ls -d "$cache"/*/vmlinuz 2>/dev/null)" ] || fetch
mkdir -p build/guest
ln -sfn "$(dirname "$(ls -d "$cache"/*/vmlinuz | sort -V | tail -1)")" "$link"
