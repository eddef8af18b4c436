#!/bin/sh
# Runs every fuzz target in turn, with and without encryption.
# usage: fuzz/run.sh [seconds for each, default 900]
set -eu
cd "$(dirname "$0")/.."
seconds="${1:-900}"
work="${UNDERTONE_FUZZ_DIR:-fuzz/target/corpus}"
targets="device_list records session_state prekey_state bundle greeting file ratchet_ops"

# mode, target
run() {
    mkdir -p "$work/$1/$2"
    set -- "$1" "$2" -s none --target-dir "fuzz/target/$1"
    mode="$1" target="$2"
    shift 2
    if [ "$target" = ratchet_ops ]; then
        set -- "$@" --no-trace-compares
    fi
    echo "== $target ($mode)"
    cargo +nightly fuzz run "$@" "$target" "$work/$mode/$target" "fuzz/corpus/$target" -- \
        -max_total_time="$seconds" -timeout=30 -print_final_stats=1 -verbosity=0 \
        -len_control=0 -max_len=256
}

for target in $targets; do
    run secure "$target"
done
# Lists, records and stored prekeys meet no AEAD.
export RUSTFLAGS="${RUSTFLAGS:-} --cfg undertone_insecure"
for target in session_state bundle greeting file ratchet_ops; do
    run insecure "$target"
done
