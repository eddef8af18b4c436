//! Tells systemd how far the daemon is (`sd_notify(3)`), if it was started by it.

/// The daemon serves, reloads, or stops.
#[derive(Clone, Copy)]
pub(super) enum State {
    Ready,
    Stopping,
}

impl State {
    #[cfg(target_os = "linux")]
    const fn text(self) -> &'static str {
        match self {
            Self::Ready => "READY=1",
            Self::Stopping => "STOPPING=1",
        }
    }
}

/// Tells it. Nobody may be listening, which is no failure of ours.
#[cfg(target_os = "linux")]
pub(super) fn tell(state: State) {
    use std::os::linux::net::SocketAddrExt as _;
    use std::os::unix::net::{SocketAddr, UnixDatagram};
    let Some(path) = std::env::var_os("NOTIFY_SOCKET") else { return };
    let told = || {
        let name = path.as_encoded_bytes();
        let address = match name.strip_prefix(b"@") {
            Some(name) => SocketAddr::from_abstract_name(name)?,
            None => SocketAddr::from_pathname(&path)?,
        };
        UnixDatagram::unbound()?.send_to_addr(state.text().as_bytes(), &address)
    };
    if let Err(error) = told() {
        tracing::warn!(%error, "systemd could not be told");
    }
}

/// There is no systemd here.
#[cfg(not(target_os = "linux"))]
pub(super) const fn tell(_: State) {}
