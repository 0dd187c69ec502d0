#!/bin/sh
# Bundles one program: bundle.sh ENTRY OUTPUT. The banner gives bundled CommonJS packages the `require` they expect.
set -eu
new=$(dirname "$2")/.new-$(basename "$2" .js)
mkdir -p "$new"
esbuild "$1" --bundle --platform=node --target=node24 --format=esm --sourcemap --log-level=warning \
  --legal-comments=none --define:process.env.CARBONADO_BUNDLED='"yes"' \
  --banner:js="import{createRequire as bundleRequire}from'node:module';const require=bundleRequire(import.meta.url);" \
  --external:koffi --outfile="$new/$(basename "$2")"
# In place in one step: whoever runs the program meanwhile finds the old one or the new one.
mv "$new/$(basename "$2")" "$new/$(basename "$2").map" "$(dirname "$2")/"
rmdir "$new"
