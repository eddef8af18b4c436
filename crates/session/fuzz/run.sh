#!/bin/sh
# Runs every fuzz target of the session layer in turn.
# usage: crates/session/fuzz/run.sh [seconds for each, default 900]
set -eu
cd "$(dirname "$0")"
seconds="${1:-900}"
work="${UNDERTONE_FUZZ_DIR:-target/corpus}"
for target in operations rows links content backups; do
    echo "== $target"
    mkdir -p "$work/$target"
    cargo +nightly fuzz run --fuzz-dir . -s none "$target" "$work/$target" "corpus/$target" -- \
        -max_total_time="$seconds" -timeout=30 -print_final_stats=1 -verbosity=0
done
