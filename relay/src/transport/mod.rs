//! The network side: accepting connections, serving their streams.

mod blobs;
mod connection;
mod connection_ids;
mod listen;
mod pace;
mod queue;
mod reading;
mod requests;
mod server;
#[cfg(test)]
mod simulation;
mod socket;
mod tap;
mod waiting;

pub(crate) use blobs::BlobDirectory;
pub(crate) use connection::Services;
pub(crate) use connection_ids::ConnectionIds;
pub(crate) use listen::listen;
#[cfg(undertone_test_transport)]
pub(crate) use listen::listen_unprotected;
pub(crate) use reading::Reading;
pub(crate) use server::{Doors, Server};
pub(crate) use socket::Socket;
pub(crate) use tap::Tap;
pub use tap::{Direction, FrameTap};
