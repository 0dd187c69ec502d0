#!/bin/sh
# Runs the tests of several lanes side by side and shows their results as those of one run:
#   test-lanes.sh [--processors N] [--meanwhile COMMAND] LANE...
# LANE is a list of projects of vitest.config.ts that run one after the other: "unit kernel". Lanes must have nothing in
# common but the processors. With fewer than N of those, or than two, all run one after the other. COMMAND runs from the
# beginning, with what processor time is left: it prepares what later tests would wait for, who find out when it fails.
set -eu
needed=2
if [ "$1" = --processors ]; then
  needed=$2
  shift 2
fi
meanwhile=
if [ "$1" = --meanwhile ]; then
  meanwhile=$2
  shift 2
fi
cd "$(dirname "$0")/.."

projects() {
  for project in $1; do printf ' --project %s' "$project"; done
}

if [ "$(nproc)" -lt "$needed" ]; then
  # shellcheck disable=SC2046 # a word each
  exec scripts/test.sh $(projects "$*")
fi

results=build/test-lanes
rm -rf "$results"
mkdir -p "$results"
running=
preparing=
trap 'trap - INT TERM; kill $running $preparing 2>/dev/null; wait; exit 130' INT TERM
if [ -n "$meanwhile" ]; then
  # shellcheck disable=SC2086
  nice -n 15 $meanwhile &
  preparing=$!
fi
for lane in "$@"; do
  # shellcheck disable=SC2046
  TEST_LANE=$(echo "$lane" | tr ' ' '-') scripts/test.sh $(projects "$lane") &
  running="$running $!"
done
failed=0
for process in $running; do wait "$process" || failed=1; done
[ -z "$preparing" ] || wait "$preparing" || true
echo
echo "All lanes together:"
TEST_LANE=all scripts/test.sh --merge-reports "$results" || failed=1
exit $failed
