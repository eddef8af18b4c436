#!/bin/sh
# A relay and its clients over bad networks: full cycles over QUIC and over TCP with delay, loss,
# reordering and duplicates, in a network namespace of its own. Fails if a message does not arrive.
#
# Needs Linux, root (or user namespaces) and the kernel's netem (module sch_netem).
# usage: relay/tests/netem.sh [path to the load generator, default target/release/load]
#   NETEM=off relay/tests/netem.sh    the same without netem, to try the script
set -eu
cd "$(dirname "$0")/../.."
load="${1:-target/release/load}"
[ -x "$load" ] || { echo "build it first: cargo build --release -p undertone-load" >&2; exit 2; }
if [ "${UNDERTONE_NETNS:-}" != inside ]; then
    exec env UNDERTONE_NETNS=inside unshare --net --map-root-user "$0" "$load"
fi
ip link set lo up
# Packets as on a path, not as on loopback.
ip link set lo mtu 1500

condition() {
    [ "${NETEM:-on}" = off ] && return 0
    tc qdisc del dev lo root 2>/dev/null || true
    # Words of the condition are arguments of netem.
    # shellcheck disable=SC2086
    tc qdisc add dev lo root netem $1 || { echo "this kernel has no netem" >&2; exit 77; }
}

for network in \
    "delay 1ms" \
    "delay 40ms 10ms" \
    "loss 5%" \
    "delay 20ms reorder 25% 50%" \
    "duplicate 5%" \
    "delay 30ms 5ms loss 2% duplicate 1% reorder 10%"; do
    condition "$network"
    for carrier in "" "--tcp"; do
        echo "== $network ${carrier:-(QUIC)}"
        # shellcheck disable=SC2086
        "$load" throughput --mailboxes 100 --in-flight 64 --connections 4 --seconds "${SECONDS_EACH:-10}" $carrier
    done
done
echo "every message arrived on every network"
