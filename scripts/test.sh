#!/bin/sh
# Runs vitest with the Node of node_modules; arguments go to vitest. The last line is "N passed, N failed, N skipped".
set -eu
cd "$(dirname "$0")/.."
PATH="$PWD/node_modules/.bin:$PATH:/usr/sbin:/sbin"
export PATH
exec vitest run "$@"
