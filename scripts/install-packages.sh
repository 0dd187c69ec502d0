#!/bin/sh
# Installs the npm packages of package-lock.json. npm leaves out optional packages that the Node it runs on is too old
# for, among them native parts of the test runner, so with an old Node (Debian 12 has 18) npm itself runs on ours.
set -eu
cd "$(dirname "$0")/.."
case $(uname -m) in aarch64) architecture=arm64 ;; *) architecture=x64 ;; esac
package=node-linux-$architecture

if [ "$(node --version | sed 's/^v\([0-9]*\).*/\1/')" -lt 22 ]; then
  version=$(sed -n "s/.*\"$package\": \"\(.*\)\".*/\1/p" package.json)
  own=$PWD/build/node-$version
  [ -x "$own/node" ] || {
    npm install --prefix "$own" --no-save --no-audit --no-fund --loglevel=error "$package@$version"
    ln -sfn "$own/node_modules/$package/bin/node" "$own/node"
  }
  PATH=$own:$PATH
  export PATH
fi
npm ci --no-audit --no-fund --loglevel=error
# Older npm does not link the `node` of these packages, because two have one.
ln -sfn "../$package/bin/node" node_modules/.bin/node
