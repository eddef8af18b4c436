//! Alice and Bob: real profiles, used through the SDK as any program would.

use std::net::{IpAddr, Ipv4Addr, UdpSocket};
use std::path::{Path, PathBuf};
use std::time::Duration;

use data_encoding::{BASE64_NOPAD, HEXLOWER, HEXUPPER};
use undertone::{
    AuditClass, Client, Contact, EventKind, JoinAddress, Message, MessageId, NewProfile, Secret,
    SyncReport,
};
use zeroize::Zeroizing;

use super::needle::{Class, Needle};
use super::step::{self, bounded};
use crate::failure::Failure;

/// The cursor with which events are counted.
const CURSOR: &str = "demo";

/// Loopback answers in milliseconds. This is how long a client that was connected when the relay
/// was killed takes to notice.
const NETWORK: Duration = Duration::from_secs(3);

/// More than the demonstration ever says.
const ALL_MESSAGES: usize = 1000;

/// Somebody who takes part.
pub(super) struct Person {
    /// `alice` or `bob`: the directory, and what the report calls them.
    pub(super) who: &'static str,
    /// What they call themselves: long enough not to turn up by chance.
    pub(super) name: &'static str,
    pub(super) directory: PathBuf,
    pub(super) passphrase_file: PathBuf,
    /// Where they connect from; `None` where the system has one loopback address only.
    pub(super) address: Option<IpAddr>,
    passphrase: Zeroizing<String>,
    client: Option<Client>,
}

impl Person {
    /// Somebody with a fresh passphrase and no profile yet.
    pub(super) fn new(
        who: &'static str,
        name: &'static str,
        root: &Path,
        last_octet: u8,
    ) -> Result<Self, Failure> {
        let passphrase = Zeroizing::new(HEXLOWER.encode(random()?.as_slice()));
        let passphrase_file = root.join(format!("{who}.passphrase"));
        write_private(&passphrase_file, passphrase.as_bytes())?;
        Ok(Self {
            who,
            name,
            directory: root.join(who),
            passphrase_file,
            address: own_loopback(last_octet),
            passphrase,
            client: None,
        })
    }

    fn builder(&self) -> undertone::Builder {
        let builder = Client::builder(&self.directory)
            .secret(Secret::Passphrase(self.passphrase.clone()))
            .timeout(NETWORK);
        match self.address {
            Some(address) => builder.bind(address),
            None => builder,
        }
    }

    pub(super) async fn create(&mut self, join: &str) -> Result<(), Failure> {
        let join: JoinAddress =
            join.parse().map_err(|error| step::failed(format!("the join address: {error}")))?;
        let profile = NewProfile { name: self.name.into(), join };
        let what = format!("{} creates a profile", self.name);
        self.client = Some(bounded(&what, self.builder().create(profile)).await?);
        Ok(())
    }

    pub(super) async fn open(&mut self) -> Result<(), Failure> {
        let what = format!("{} opens the profile", self.name);
        self.client = Some(bounded(&what, self.builder().open()).await?);
        Ok(())
    }

    /// Opens the profile in a way that can't touch the network.
    pub(super) async fn open_offline(&mut self) -> Result<(), Failure> {
        let what = format!("{} opens the profile", self.name);
        self.client = Some(bounded(&what, self.builder().offline().open()).await?);
        Ok(())
    }

    /// Offline from here on: nothing of this profile runs any more.
    pub(super) async fn close(&mut self) {
        if let Some(client) = self.client.take() {
            client.close().await;
        }
    }

    pub(super) fn client(&self) -> Result<&Client, Failure> {
        self.client.as_ref().ok_or_else(|| step::failed(format!("{} is offline", self.name)))
    }

    pub(super) async fn sync(&self) -> Result<SyncReport, Failure> {
        bounded(&format!("{} fetches and sends", self.name), self.client()?.sync()).await
    }

    /// The one contact.
    pub(super) async fn contact(&self) -> Result<Contact, Failure> {
        let contacts = bounded("listing contacts", self.client()?.contacts()).await?;
        let count = contacts.len();
        match <[Contact; 1]>::try_from(contacts) {
            Ok([contact]) => Ok(contact),
            Err(_) => Err(step::failed(format!("{} has {count} contacts, not one", self.name))),
        }
    }

    /// Queues a text: durable when this returns.
    pub(super) async fn write(&self, text: &str) -> Result<MessageId, Failure> {
        let contact = self.contact().await?.id;
        bounded(&format!("{} writes", self.name), self.client()?.send_text(contact, text)).await
    }

    /// Queues a file.
    pub(super) async fn attach(&self, path: &Path) -> Result<MessageId, Failure> {
        let contact = self.contact().await?.id;
        let client = self.client()?;
        // The SDK's own error says which file, and has an exit code of its own.
        client.send_file(contact, path).await.map_err(Failure::from)
    }

    pub(super) async fn history(&self) -> Result<Vec<Message>, Failure> {
        let contact = self.contact().await?.id;
        let client = self.client()?;
        bounded("reading the history", client.history(contact, None, ALL_MESSAGES)).await
    }

    /// Ids of the messages that were reported as received, in order, from the first event on.
    pub(super) async fn reported(&self) -> Result<Vec<MessageId>, Failure> {
        let mut events = self.client()?.events(CURSOR);
        let mut ids = Vec::new();
        while let Some(event) = bounded("reading events", events.try_next()).await? {
            if let EventKind::MessageReceived { id, .. } = event.kind {
                ids.push(id);
            }
        }
        Ok(ids)
    }

    /// Account and device as anybody can ask for them; independent of the SDK's own list.
    async fn identity_needles(&self) -> Result<Vec<Needle>, Failure> {
        let client = self.client()?;
        let me = client.me();
        let label = |what: &str| format!("{}: {what}", self.who);
        let mut needles = vec![
            Needle::new(label("account fingerprint"), Class::Identity, *me.account.as_bytes()),
            Needle::new(label("device, hexadecimal"), Class::Identity, me.device.as_bytes()),
        ];
        if let Ok(device) = HEXLOWER.decode(me.device.as_bytes()) {
            needles.push(Needle::new(label("device"), Class::Identity, device));
        }
        for contact in bounded("listing contacts", client.contacts()).await? {
            let number = bounded("the safety number", client.safety_number(contact.id)).await?;
            let digits: String = number.digits.chars().filter(char::is_ascii_digit).collect();
            needles.push(Needle::new(label("safety number"), Class::Identity, digits));
            let keys = number.qr.get(QR_VERSION_BYTES..).unwrap_or_default();
            for key in keys.chunks_exact(32) {
                needles.push(Needle::new(label("an account key"), Class::Identity, key));
            }
        }
        Ok(needles)
    }

    /// Everything about this person that a relay must not know, as of now.
    pub(super) async fn needles(&self) -> Result<Vec<Needle>, Failure> {
        let mut needles = vec![
            Needle::new(
                format!("{}: passphrase", self.who),
                Class::Secret,
                self.passphrase.as_bytes(),
            ),
            Needle::new(format!("{}: name", self.who), Class::Name, self.name),
        ];
        if let Some(address) = self.address {
            needles.extend(address_needles(self.who, address));
        }
        needles.extend(self.identity_needles().await?);
        let client = self.client()?;
        for held in bounded("listing keys", client.dangerous_audit_secrets()).await? {
            let class = match held.class {
                AuditClass::Secret => Class::Secret,
                AuditClass::Capability => Class::Capability,
                AuditClass::Identity => Class::Identity,
                AuditClass::Name => Class::Name,
            };
            needles.push(Needle::new(
                format!("{}: {}", self.who, held.label),
                class,
                held.bytes.as_slice(),
            ));
        }
        Ok(needles)
    }
}

/// What the QR code of a safety number holds before the two account keys.
const QR_VERSION_BYTES: usize = 1;

/// A client's address as programs write and store it. Its four raw bytes alone are a matter of
/// the search itself, since in random bytes they turn up by chance.
fn address_needles(who: &str, address: IpAddr) -> Vec<Needle> {
    let label = |form: &str| format!("{who}: network address, {form}");
    let mut needles = vec![Needle::new(label("text"), Class::Address, address.to_string())];
    if let IpAddr::V4(address) = address {
        let octets = address.octets();
        needles.push(Needle::new(
            label("mapped to IPv6"),
            Class::Address,
            address.to_ipv6_mapped().octets(),
        ));
        needles.push(Needle::new(label("hexadecimal"), Class::Address, HEXLOWER.encode(&octets)));
        needles.push(Needle::new(label("hexadecimal"), Class::Address, HEXUPPER.encode(&octets)));
        needles.push(Needle::new(label("base64"), Class::Address, BASE64_NOPAD.encode(&octets)));
        needles.push(Needle::new(label("decimal"), Class::Address, u32::from(address).to_string()));
    }
    needles
}

/// 127.0.0.`last`, where the system answers to it (Linux does; others have 127.0.0.1 only).
fn own_loopback(last: u8) -> Option<IpAddr> {
    let address = IpAddr::V4(Ipv4Addr::new(127, 0, 0, last));
    UdpSocket::bind((address, 0)).ok().map(|_| address)
}

/// 16 random bytes.
pub(super) fn random() -> Result<[u8; 16], Failure> {
    let mut bytes = [0; 16];
    getrandom::fill(&mut bytes)
        .map_err(|error| step::failed(format!("the system's random generator failed: {error}")))?;
    Ok(bytes)
}

fn write_private(path: &Path, bytes: &[u8]) -> Result<(), Failure> {
    let mut options = std::fs::OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options
        .open(path)
        .and_then(|mut file| std::io::Write::write_all(&mut file, bytes))
        .map_err(|error| step::failed(format!("{} can't be written: {error}", path.display())))
}
