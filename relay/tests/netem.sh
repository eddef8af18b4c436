#!/bin/sh
# A relay and its clients over bad networks: delay, loss, reordering and duplicates, over QUIC and over TCP, in a
# network namespace of its own, so that nothing outside is touched. Fails if a message does not arrive.
#
# Needs Linux, and root or user namespaces (unshare). The networks are made by the kernel's netem where
# it has that (module sch_netem; it needs root). Where it has not, the load generator's own proxy makes them,
# which delays TCP without losing any of it; the script says which of the two it was.
#
# usage: relay/tests/netem.sh [path to the load generator, default target/release/load]
#   NETWORKS=netem  fails (77) without netem, rather than use the proxy
#   NETWORKS=proxy  uses the proxy
#   SECONDS_EACH=N  how long each network is tried, 10 unless told otherwise
set -eu
cd "$(dirname "$0")/../.."
load="${1:-target/release/load}"
seconds="${SECONDS_EACH:-10}"
[ -x "$load" ] || {
    echo "there is no $load; build it first: cargo build --release -p undertone-load" >&2
    exit 2
}
if [ "${UNDERTONE_NETNS:-}" != inside ]; then
    command -v unshare >/dev/null || { echo "unshare (util-linux) is missing" >&2; exit 2; }
    exec env UNDERTONE_NETNS=inside unshare --net --map-root-user "$0" "$load"
fi
ip link set lo up
# Packets as on a path, not as on loopback.
ip link set lo mtu 1500

has_netem() {
    tc qdisc add dev lo root netem delay 1ms 2>/dev/null && tc qdisc del dev lo root
}

case "${NETWORKS:-}" in
proxy) netem=no ;;
netem) has_netem || { echo "this kernel has no netem (module sch_netem)" >&2; exit 77; }; netem=yes ;;
*) if has_netem; then netem=yes; else netem=no; fi ;;
esac

if [ "$netem" = no ]; then
    echo "networks made by the load generator's proxy, in a namespace of their own"
    exec "$load" network --seconds "$seconds"
fi

echo "networks made by the kernel's netem"
for network in \
    "delay 1ms" \
    "delay 40ms 10ms" \
    "loss 5%" \
    "delay 20ms reorder 25% 50%" \
    "duplicate 5%" \
    "delay 30ms 5ms loss 2% duplicate 1% reorder 10%"; do
    tc qdisc del dev lo root 2>/dev/null || true
    # Words of the condition are arguments of netem.
    # shellcheck disable=SC2086
    tc qdisc add dev lo root netem $network
    for carrier in "" "--tcp"; do
        echo "== $network ${carrier:-(QUIC)}"
        # shellcheck disable=SC2086
        "$load" throughput --mailboxes 100 --in-flight 64 --connections 4 --seconds "$seconds" $carrier
    done
done
echo "every message arrived on every network"
