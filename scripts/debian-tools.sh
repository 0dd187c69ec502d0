#!/bin/sh
# Unpacks Debian packages that only the lab and the suites run, beside the system: no service of them is started and no
# file of the host changes.
#   debian-tools.sh PACKAGE...    build/debian/PACKAGE links to the unpacked package in the user's cache
set -eu
cd "$(dirname "$0")/.."
cache=${XDG_CACHE_HOME:-${HOME:-/root}/.cache}/carbonado/debian
mkdir -p "$cache" build/debian

fetch() {
  folder=$(mktemp -d)
  chmod 755 "$folder" # apt fetches as a user of its own
  (cd "$folder" && { apt-get -qq download "$1" 2>/dev/null || { apt-get -qq update && apt-get -qq download "$1"; }; }) >&2 || {
    rm -rf "$folder"
    echo "debian-tools: the package $1 could not be fetched; connect the machine or mirror it, then repeat." >&2
    exit 1
  }
  dpkg -x "$folder"/*.deb "$cache/$1.$$"
  rm -rf "$folder"
  mv -T "$cache/$1.$$" "$cache/$1" 2>/dev/null || rm -rf "$cache/$1.$$" # somebody else was faster
}

for package in "$@"; do
  [ -d "$cache/$package" ] || fetch "$package"
  ln -sfn "$cache/$package" "build/debian/$package"
done
