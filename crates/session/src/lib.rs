//! Sessions of Undertone: identities, links, contacts, content, inbox and outbox.
//!
//! Sans-IO: everything here is synchronous over a [`store`] transaction trait; it yields the
//! requests that are to be made to a relay and takes the answers. The SDK (`undertone`) drives it.
#![forbid(unsafe_code)]

pub mod backup;
mod codec;
pub mod contact;
pub mod content;
pub mod engine;
pub mod event;
pub mod ids;
pub mod link;
pub mod message;
pub mod routing;
pub mod store;
