#!/bin/sh
# Runs every fuzz target of the wire in turn.
# usage: crates/wire/fuzz/run.sh [seconds for each, default 900]
set -eu
cd "$(dirname "$0")"
seconds="${1:-900}"
work="${UNDERTONE_FUZZ_DIR:-target/corpus}"
for target in client_frames server_frames blob_frames addresses tickets configuration; do
    echo "== $target"
    mkdir -p "$work/$target"
    cargo +nightly fuzz run --fuzz-dir . -s none "$target" "$work/$target" "corpus/$target" -- \
        -max_total_time="$seconds" -timeout=30 -print_final_stats=1 -verbosity=0
done
