//! Links, routes and recovery keys: any text or bytes, and what must hold for them.

use undertone_session::backup::RecoveryKey;
use undertone_session::link::Link;
use undertone_session::routing::Routing;

/// What is read is written back as the one form of what it says.
pub fn links(data: &[u8]) {
    if let Some(route) = Routing::from_bytes(data) {
        assert_eq!(route.to_bytes().as_slice(), data, "a second spelling of a route");
    }
    let Ok(text) = std::str::from_utf8(data) else { return };
    if let Ok(link) = text.parse::<Link>() {
        let written = link.to_text();
        // Only the white space around it may differ.
        assert_eq!(written.as_str(), text.trim(), "a second spelling of a link");
        let again: Link = written.parse().unwrap();
        assert_eq!(again.secret(), link.secret());
        assert_eq!((again.account(), again.kind()), (link.account(), link.kind()));
        assert_eq!(again.relay(), link.relay());
    }
    if let Ok(key) = text.parse::<RecoveryKey>() {
        let again: RecoveryKey = key.to_text().parse().unwrap();
        assert_eq!(again.to_text(), key.to_text());
    }
}
