//! Where fuzzing starts: short inputs that stand for real values.

use super::fixture::fixture;
use super::ratchet::ops::*;

/// The byte that asks for a real value with edits, and the one that gives the
/// value itself.
const EDITED: u8 = 1;
const RAW: u8 = 0;

/// A few inputs for each target, by name.
pub fn seeds() -> Vec<(&'static str, &'static str, Vec<u8>)> {
    let mut seeds = parsers();
    seeds.extend(conversations().into_iter().map(|(name, ops)| ("ratchet_ops", name, ops)));
    seeds
}

fn parsers() -> Vec<(&'static str, &'static str, Vec<u8>)> {
    let fixture = fixture();
    let raw = |head: &[u8], value: &[u8]| [head, &[RAW], value].concat();
    let mut seeds = vec![
        ("device_list", "real", raw(&[0], &fixture.alice.list)),
        // The counter's last byte, signed again.
        ("device_list", "higher-counter", vec![1, EDITED, 1, 0, 39, 7]),
        ("device_list", "six-devices", vec![1, EDITED, 0, 0, 40, 1, 6]),
        ("device_list", "unsigned-counter", vec![0, EDITED, 1, 0, 39, 7]),
        ("device_list", "cut", vec![0, EDITED, 2, 0, 100]),
        ("prekey_state", "real", raw(&[], &fixture.prekey)),
        ("prekey_state", "other-key", vec![EDITED, 1, 0, 60, 3]),
        ("bundle", "real", vec![0, 0, EDITED]),
        ("bundle", "late", vec![0, 31, EDITED]),
        ("bundle", "early", vec![0, 131, EDITED]),
        ("bundle", "later-expiry", vec![2, 0, EDITED, 1, 0, 33, 1]),
        ("bundle", "edited-list", vec![3, 0, EDITED, 1, 6, 141, 1]),
        ("greeting", "real", vec![0, 0, EDITED]),
        ("greeting", "late", vec![0, 61, EDITED]),
        ("greeting", "edited-list", vec![1, 0, EDITED, 1, 6, 134, 1]),
        ("greeting", "cut", vec![0, 0, EDITED, 2, 8, 0]),
        ("file", "real", vec![0, 0, 0, 0, EDITED]),
        ("file", "second-chunk", vec![0, 1, 1, 0, EDITED]),
        ("file", "shorter", vec![0, 0, 0, 1, 0, 0, 0, 9, EDITED]),
        ("file", "largest", vec![1, 0, 0, 128, 0, 0, 0, 0, 0, 0, 0, 0, 1]),
        ("file", "two-chunks", vec![2, 0, 1, 0, 1]),
    ];
    for kind in 0..5 {
        seeds.push(("records", RECORDS[usize::from(kind)], vec![kind, EDITED]));
    }
    for (at, sample) in fixture.states.iter().enumerate() {
        seeds.push(("session_state", STATES[at], vec![at as u8, 0, EDITED]));
        if at == 1 {
            seeds.push(("session_state", "raw", raw(&[at as u8, 0], &sample.state)));
        }
    }
    seeds
}

const RECORDS: [&str; 5] = ["record", "device-keys", "account-key", "safety-number", "route"];

const STATES: [&str; 19] = [
    "greeted", "1a", "1b", "2a", "2b", "3a", "3b", "4a", "4b", "5a", "5b", "6a", "6b", "7a", "7b",
    "8a", "8b", "9a", "9b",
];

/// Scripts; each begins with whether the first reply has come in.
fn conversations() -> Vec<(&'static str, Vec<u8>)> {
    vec![
        ("epochs", vec![1, EXCHANGE, 31, 2, EXCHANGE, 31, 2]),
        ("full-buckets", vec![1, EXCHANGE, 31, 3, EXCHANGE, 31, 3, EXCHANGE, 31, 3]),
        (
            "unconfirmed",
            vec![0, SEND, 2, SEND, 5, BOB | NEWEST, BOB | OLDEST, BOB | SEND, 1, OLDEST],
        ),
        ("late", vec![1, BURST, 1, BOB | NEWEST, BOB | EXCHANGE, 9, 1, BOB | MISCHIEF, 4, 0, 0]),
        (
            "chains-forgotten",
            vec![1, SEND, 1, SEND, 1, BOB | NEWEST, BOB | EXCHANGE, 24, 1, BOB | OLDEST],
        ),
        // One message more than may be missing, then exactly as many.
        (
            "gap",
            vec![1, BURST, 250, SEND, 1, BOB | NEWEST, BOB | NEWEST, BOB | OLDEST, BOB | SEND, 1],
        ),
        // The last day of a key, and the day after.
        (
            "expiry",
            vec![
                1,
                BURST,
                1,
                BOB | NEWEST,
                DAYS,
                30,
                BOB | OLDEST,
                DAYS,
                1,
                BOB | OLDEST,
                ANY,
                0,
                4,
            ],
        ),
        (
            "expiry-on-receipt",
            vec![1, BURST, 1, BOB | NEWEST, DAYS, 31, SEND, 1, BOB | NEWEST, BOB | EXPIRE, 0],
        ),
        (
            "expiry-alone",
            vec![1, BURST, 1, BOB | NEWEST, DAYS, 31, BOB | EXPIRE, 1, BOB | EXPIRE, 0],
        ),
        (
            "clock-back",
            vec![
                1,
                BURST,
                1,
                BOB | NEWEST,
                DAYS,
                160,
                BOB | EXCHANGE,
                3,
                1,
                DAYS,
                20,
                BOB | OLDEST,
            ],
        ),
        (
            "rollback",
            vec![
                1,
                SEND,
                1,
                BOB | OLDEST,
                COPY,
                SEND,
                1,
                BOB | OLDEST,
                ROLL_BACK,
                0,
                SEND,
                1,
                BOB | OLDEST,
            ],
        ),
        (
            "rollback-of-receiver",
            vec![1, BOB | COPY, EXCHANGE, 9, 2, BOB | ROLL_BACK, 0, ANY, 0, 3, EXCHANGE, 9, 2],
        ),
        (
            "abandoned",
            vec![
                1,
                ABANDON_SEAL,
                2,
                SEND,
                2,
                ABANDON_OPEN,
                0,
                2,
                2,
                BOB | ABANDON_SEAL,
                1,
                BOB | OLDEST,
            ],
        ),
        ("altered", vec![1, SEND, 0, FLIP, 0, 2, 0, 20, 1, FLIP, 0, 2, 0, 200, 1, BOB | OLDEST]),
        ("forged-number", vec![1, SEND, 0, FORGE, 0, 2, 2, 0, 0, 0, 9, BOB | OLDEST]),
        // One message's header on another's body; one chain's key on the next.
        ("spliced", vec![1, SEND, 0, SEND, 0, FORGE, 0, 3, 139, 0, 2, BOB | OLDEST, BOB | OLDEST]),
        ("repeated-key", vec![1, EXCHANGE, 2, 1, SEND, 0, FORGE, 0, 4, 140, 0, 2, BOB | OLDEST]),
        ("forged-run", vec![1, SEND, 0, FORGE, 0, 2, 10, 36, 1, EXCHANGE, 9, 2]),
        ("cut", vec![1, SEND, 1, MISCHIEF, 0, 0, 2, 1, 0, MISCHIEF, 2, 0, 2, RELOAD, BOB | OLDEST]),
    ]
}
