#!/bin/sh
# Builds programs written in Go that the lab and the conformance suites run; the product itself needs none of them.
#   go-tools.sh SET...    SET is a folder of lab/go-tools: kubernetes, sidecars, provisioner, conformance
# Each set is a module of its own whose go.mod lists its programs as tools. The binaries are kept in the user's cache,
# by the checksum of the module, so that another checkout finds them; build/go/SET links there.
set -eu
cd "$(dirname "$0")/.."
PATH="$PATH:/usr/local/go/bin"
export PATH

require_go() {
  command -v go >/dev/null 2>&1 && return
  # Go below 1.21 cannot fetch the version that a module asks for. Debian's backports have a newer one.
  suite=$(. /etc/os-release && echo "$VERSION_CODENAME")
  if [ "$(id -u)" -ne 0 ] || ! command -v apt-get >/dev/null 2>&1; then
    echo "go-tools: the Go compiler (1.21 or newer) is missing. Install it, then repeat." >&2
    exit 1
  fi
  apt-get -qq -o DPkg::Lock::Timeout=300 install -y --no-install-recommends -t "$suite-backports" golang-go >/dev/null 2>&1 ||
    apt-get -qq -o DPkg::Lock::Timeout=300 install -y --no-install-recommends golang-go >/dev/null
}

# Kubernetes says which version it is only when the build told it.
linker_flags() {
  version=$(sed -n 's/^require k8s.io\/kubernetes v//p' "lab/go-tools/$1/go.mod")
  [ -n "$version" ] || { echo "-s -w"; return; }
  package=k8s.io/component-base/version
  minor=${version#*.}
  echo "-s -w -X $package.gitVersion=v$version -X $package.gitMajor=${version%%.*} -X $package.gitMinor=${minor%%.*}"
}

build() {
  checksum=$(cat "lab/go-tools/$1/go.mod" "lab/go-tools/$1/go.sum" scripts/go-tools.sh | sha256sum | cut -c1-16)
  cache=${XDG_CACHE_HOME:-${HOME:-/root}/.cache}/carbonado/go/$1-$checksum
  mkdir -p build/go "${cache%/*}"
  if [ ! -d "$cache" ]; then
    # Who wants the same at the same moment waits for it: two builds would take the processors from each other.
    flock "$cache.lock" scripts/go-tools.sh --locked "$1" "$cache"
    rm -f "$cache.lock"
  fi
  ln -sfn "$cache" "build/go/$1"
}

build_locked() {
  [ ! -d "$2" ] || return 0
  require_go
  echo "go-tools: building $1 (minutes, once)" >&2
  making=$2.$$
  trap 'rm -rf "$making"' EXIT
  mkdir -p "$making"
  (cd "lab/go-tools/$1" && go build -trimpath -buildvcs=false -ldflags "$(cd ../../.. && linker_flags "$1")" -o "$making/" tool)
  mv -T "$making" "$2"
  trap - EXIT
}

if [ "${1-}" = --locked ]; then
  build_locked "$2" "$3"
  exit
fi

for set in "$@"; do
  [ -f "lab/go-tools/$set/go.mod" ] || { echo "go-tools: there is no set \"$set\" in lab/go-tools" >&2; exit 1; }
  build "$set"
done
