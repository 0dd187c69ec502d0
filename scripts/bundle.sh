#!/bin/sh
# Bundles one program: bundle.sh ENTRY OUTPUT. The banner gives bundled CommonJS packages the `require` they expect.
set -eu
mkdir -p "$(dirname "$2")"
esbuild "$1" --bundle --platform=node --target=node24 --format=esm --sourcemap --keep-names --log-level=warning \
  --legal-comments=none --define:process.env.CARBONADO_BUNDLED='"yes"' \
  --banner:js="import{createRequire as bundleRequire}from'node:module';const require=bundleRequire(import.meta.url);" \
  --external:koffi --outfile="$2"
