//! What is planted where the search must find it: a search that finds nothing there finds nothing
//! anywhere, and proves nothing.

use std::path::Path;

use data_encoding::{BASE64, HEXLOWER};
use undertone_wire::client::{ClientError, Connection, Options};
use undertone_wire::frame::{MailboxKind, OwnerOperation};
use undertone_wire::{Bounded, ErrorCode, JoinAddress, MailboxSecret, WriteCapability};

use super::needle::{Class, Needle, Place};
use super::person::random;
use super::step::{self, bounded};
use crate::failure::Failure;

/// The smallest envelope.
const ENVELOPE: usize = 1024;

/// Where in its envelope a canary stands: not at the beginning, where a careless search might look.
const OFFSET: usize = 500;

/// One for each place, fresh for each run.
pub(super) struct Canaries {
    row: [u8; 32],
    file: [u8; 32],
    log: [u8; 32],
    frame: [u8; 32],
}

impl Canaries {
    pub(super) fn new() -> Result<Self, Failure> {
        Ok(Self { row: fresh()?, file: fresh()?, log: fresh()?, frame: fresh()? })
    }

    pub(super) fn needles(&self) -> Vec<Needle> {
        [
            (Place::Rows, self.row),
            (Place::Files, self.file),
            (Place::Log, self.log),
            (Place::Frames, self.frame),
        ]
        .into_iter()
        .map(|(place, bytes)| {
            Needle::new(format!("canary in {}", place.name()), Class::Canary(place), bytes)
        })
        .collect()
    }

    /// What the relay is to log, through its own log: in hexadecimal, as logs have bytes.
    pub(super) fn log_text(&self) -> String {
        HEXLOWER.encode(&self.log)
    }

    /// Puts a file into the relay's directory, in base64.
    pub(super) fn plant_file(&self, relay_directory: &Path) -> Result<(), Failure> {
        let text = format!("{{\"canary\":\"{}\"}}\n", BASE64.encode(&self.file));
        std::fs::write(relay_directory.join("canary.json"), text)
            .map_err(|error| step::failed(format!("the canary can't be planted: {error}")))
    }

    /// Delivers an envelope that the relay stores, and one that it only reads: the first has its
    /// canary in a stored row once that is unwrapped, the second in a frame alone.
    pub(super) async fn plant_row_and_frame(&self, join: &JoinAddress) -> Result<(), Failure> {
        let what = "planting the canaries";
        let connection =
            bounded(what, Connection::connect(join.relay(), &Options::default())).await?;
        let secret = MailboxSecret::from_seed(&fresh()?);
        let capability = WriteCapability::from_bytes(fresh()?);
        let create = OwnerOperation::CreateMailbox {
            key: secret.public(),
            token: join.token().duplicate(),
            kind: MailboxKind::Queue,
            limits: None,
            capabilities: Bounded::one(capability.hash()),
        };
        bounded(what, connection.mailboxes(create, &[&secret])).await?;
        bounded(what, connection.deliver(&capability, envelope(&self.row))).await?;
        let unknown = WriteCapability::from_bytes(fresh()?);
        let refused = connection.deliver(&unknown, envelope(&self.frame)).await;
        connection.close();
        match refused {
            Err(ClientError::Refused(ErrorCode::Unknown)) => Ok(()),
            other => Err(step::failed(format!(
                "the relay should not know a random capability, and answered {other:?}"
            ))),
        }
    }
}

fn fresh() -> Result<[u8; 32], Failure> {
    let mut bytes = [0; 32];
    for half in bytes.chunks_exact_mut(16) {
        half.copy_from_slice(&random()?);
    }
    Ok(bytes)
}

fn envelope(canary: &[u8; 32]) -> Vec<u8> {
    let mut envelope = vec![0; OFFSET];
    envelope.extend_from_slice(canary);
    envelope.resize(ENVELOPE, 0);
    envelope
}
