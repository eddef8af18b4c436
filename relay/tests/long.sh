#!/bin/sh
# The relay's tests in their long form, one after the other; each alone by its name. Ends with the first that
# fails, and says how long each took.
#
#   kill        SIGKILL at random moments under load, 500 rounds (ROUNDS=n)                about 15 minutes
#   power       power loss: every state after every operation that was recorded            about 20 minutes
#   damage      a byte flipped anywhere in every file; every cut of the last writes        about 10 minutes
#   hostile     100,000 random envelopes into one mailbox beside honest clients            about 5 minutes
#   simulation  transport and time by 2,000 seeds (SEEDS=n)                                 about 10 minutes
#   chance      the store and the subscriptions against their models, 20,000 and 200,000 inputs
#   network     bad networks: netem.sh, which needs a release build of the load generator
#   soak        an hour of mixed load with restarts, likewise
#
# usage: relay/tests/long.sh [NAME...]        all of them, but for network and soak, if none is named
set -eu
cd "$(dirname "$0")/../.."
relay_test() { cargo test --locked -p undertone-relay "$@"; }

one() {
    case "$1" in
    kill)
        UNDERTONE_ROUNDS="${ROUNDS:-500}" relay_test --test reliability \
            killed_at_any_moment -- --nocapture
        ;;
    power) UNDERTONE_LONG=1 relay_test --lib power_loss -- --nocapture ;;
    damage) UNDERTONE_LONG=1 relay_test --test damage -- --nocapture ;;
    hostile) UNDERTONE_LONG=1 relay_test --test hostile -- --nocapture ;;
    simulation) UNDERTONE_SIMULATIONS="${SEEDS:-2000}" relay_test --lib simulation -- --nocapture ;;
    chance)
        UNDERTONE_FUZZ_RUNS=20000 relay_test --lib store::fuzz::tests::inputs_by_chance
        UNDERTONE_FUZZ_RUNS=200000 relay_test --lib mailboxes::fuzz::tests::inputs_by_chance
        ;;
    network) relay/tests/netem.sh ;;
    soak) target/release/load soak ;;
    *)
        echo "$1 is none of: kill power damage hostile simulation chance network soak" >&2
        exit 2
        ;;
    esac
}

[ "$#" -gt 0 ] || set -- kill power damage hostile simulation chance
for name in "$@"; do
    echo "== $name"
    begun=$(date +%s)
    one "$name"
    echo "== $name: passed after $(($(date +%s) - begun)) s"
done
