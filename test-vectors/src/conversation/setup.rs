//! Steps that make people, links, bundles and sessions.

use serde_json::{Value, json};
use undertone_core::bounds::BUNDLE_LIFETIME_DAYS;
use undertone_core::{
    AccountFingerprint, AccountSecret, Bundle, BundleKind, Day, DeviceList, DeviceSecret,
    ListRecord, LocalDevice, Routing, generate_prekey, initiate,
};

use super::{Held, Person, Published, World, with_names};
use crate::prim;
use crate::value::{Args, hex};
use crate::{Fail, Outcome};

pub(crate) const BUNDLE_DRAWS: [&str; 4] = ["bundle-id", "prekey", "prekey-kem-seed", "card-nonce"];
pub(crate) const INITIATE_DRAWS: [&str; 3] =
    ["ephemeral-key", "handshake-kem-message", "hello-nonce"];

/// A list record that may be missing.
pub(crate) fn record(args: &Args<'_>) -> Outcome<Option<ListRecord>> {
    if args.optional("record").is_none() {
        return Ok(None);
    }
    let record = ListRecord::from_bytes(&args.array("record")?);
    record.map(Some).map_err(|error| Fail::refused(error.code()))
}

/// A kind of bundle.
pub(crate) fn kind(args: &Args<'_>) -> Outcome<BundleKind> {
    match args.str("kind")? {
        "one-time" => Ok(BundleKind::OneTime),
        "last-resort" => Ok(BundleKind::LastResort),
        other => Err(Fail::wrong(format!("no kind of bundle: {other}"))),
    }
}

/// The day on which a bundle is made that is to have the last day `expiry`.
pub(crate) fn made_on(args: &Args<'_>) -> Outcome<Day> {
    let made = args.u32("expiry")?.checked_sub(BUNDLE_LIFETIME_DAYS);
    made.map(Day::new).ok_or_else(|| Fail::wrong("an expiry before the first bundle's"))
}

/// A route.
pub(crate) fn route(args: &Args<'_>) -> Outcome<Routing> {
    Routing::new(&args.bytes("route")?).map_err(|error| Fail::refused(error.code()))
}

pub(crate) fn device_secret(signing: &[u8; 32], dh: &[u8; 32]) -> [u8; 64] {
    let mut out = [0; 64];
    for (to, from) in out.iter_mut().zip(signing.iter().chain(dh)) {
        *to = *from;
    }
    out
}

impl World {
    pub(super) fn person(&mut self, args: &Args<'_>) -> Outcome<Value> {
        let name = args.str("person")?.to_owned();
        let mut drawn = json!({});
        let (account, devices) = if args.has("account_secret") {
            let devices = args
                .list("devices")?
                .iter()
                .map(|device| {
                    let device = Args::of(device)?;
                    Ok(device_secret(&device.array("signing_secret")?, &device.array("dh_secret")?))
                })
                .collect::<Outcome<Vec<_>>>()?;
            (args.array("account_secret")?, devices)
        } else {
            let count = if args.has("count") { args.size("count")? } else { 1 };
            let stream = self.stream.as_mut().ok_or_else(|| Fail::wrong("nothing to draw from"))?;
            let account: [u8; 32] = stream.array();
            let devices: Vec<[u8; 64]> = (0..count.min(16)).map(|_| stream.array()).collect();
            let describe = |device: &[u8; 64]| {
                let (signing, dh) = device.split_at(32);
                json!({ "signing_secret": hex(signing), "dh_secret": hex(dh) })
            };
            drawn = json!({
                "account_secret": hex(&account),
                "devices": devices.iter().map(describe).collect::<Vec<_>>(),
            });
            (account, devices)
        };
        let account = AccountSecret::from_bytes(&account);
        let keys: Vec<_> = devices.iter().map(|d| DeviceSecret::from_bytes(d).public()).collect();
        let refused = |error: undertone_core::IdentityError| Fail::refused(error.code());
        let counter = if args.has("counter") { args.number("counter")? } else { 1_700_000_000 };
        let list = DeviceList::issue(&account, None, counter, &keys).map_err(refused)?;
        let index = if args.has("device") { args.size("device")? } else { 0 };
        let secret = *devices.get(index).ok_or_else(|| Fail::wrong("no such device"))?;
        let device = LocalDevice::new(DeviceSecret::from_bytes(&secret), list).map_err(refused)?;
        let mut out = json!({
            "account": hex(account.public().as_bytes()),
            "fingerprint": hex(account.public().fingerprint().as_bytes()),
            "list": hex(device.list().as_bytes()),
            "record": hex(&device.list().record().to_bytes()),
        });
        if let (Some(out), Some(drawn)) = (out.as_object_mut(), drawn.as_object_mut()) {
            out.append(drawn);
        }
        self.people.insert(name, Person { device, secret, accepted: Default::default() });
        Ok(out)
    }

    pub(super) fn link(&mut self, args: &Args<'_>) -> Outcome<Value> {
        let secret = if args.has("link_secret") {
            args.array("link_secret")?
        } else {
            let stream = self.stream.as_mut().ok_or_else(|| Fail::wrong("nothing to draw from"))?;
            stream.array()
        };
        self.links.insert(args.str("link")?.to_owned(), secret);
        let [fetch] = prim::keys(&secret, "link fetch", &[])?;
        let [card] = prim::keys(&secret, "link card", &[])?;
        let [hello] = prim::keys(&secret, "link hello", &[])?;
        let [psk] = prim::keys(&secret, "link psk", &[])?;
        Ok(json!({
            "link_secret": hex(&secret),
            "fetch_capability": hex(&fetch),
            "card_key": hex(&card),
            "hello_key": hex(&hello),
            "link_psk": hex(&psk),
        }))
    }

    pub(super) fn bundle(&mut self, args: &Args<'_>) -> Outcome<Value> {
        let link = args.str("link")?.to_owned();
        let card = self.link_secret(&link)?.card_key();
        let (name, person) = (args.str("bundle")?.to_owned(), args.str("person")?.to_owned());
        let (kind, made, route) = (kind(args)?, made_on(args)?, route(args)?);
        let mut draws = self.draws(args)?;
        let me = &self.somebody(&person)?.device;
        let (secret, bundle) = generate_prekey(kind, me, made, &route, &mut draws);
        let sealed = bundle.seal(&card, &mut draws);
        let drawn = draws.finish()?;
        self.drawn(draws);
        let (nonce, rest) =
            sealed.split_first_chunk::<12>().ok_or_else(|| Fail::wrong("sealed"))?;
        let [key] = prim::keys(self.link_secret(&link)?.as_bytes(), "link card", &[])?;
        let open = prim::open(&key, nonce, &prim::label("card seal"), rest)
            .ok_or_else(|| Fail::wrong("the bundle does not open under the text's card key"))?;
        let out = json!({
            "id": hex(secret.id().as_bytes()),
            "bundle": hex(&open),
            "digest": hex(secret.digest().as_bytes()),
            "stored": hex(&secret.to_bytes()),
            "sealed": hex(&sealed),
            "draws": with_names(&BUNDLE_DRAWS, &drawn)?,
        });
        let published = Published {
            person,
            id: *secret.id().as_bytes(),
            digest: secret.digest(),
            one_time: kind == BundleKind::OneTime,
            made: self.bundles.len(),
            secret: Some(secret),
            sealed,
        };
        self.bundles.insert(name, published);
        Ok(out)
    }

    pub(super) fn initiate(&mut self, args: &Args<'_>) -> Outcome<Value> {
        let (name, person) = (args.str("session")?.to_owned(), args.str("person")?.to_owned());
        let link = self.link_secret(args.str("link")?)?;
        let sealed = if args.has("sealed") {
            args.bytes("sealed")?
        } else {
            let bundle = args.str("bundle")?;
            let found = self.bundles.get(bundle).map(|bundle| bundle.sealed.clone());
            found.ok_or_else(|| Fail::wrong(format!("no bundle {bundle}")))?
        };
        let expected = AccountFingerprint::from_bytes(args.array("fingerprint")?);
        let (today, route) = (Day::new(args.u32("today")?), route(args)?);
        let mut draws = self.draws(args)?;
        let me = self.somebody(&person)?;
        let bundle = Bundle::open(&link.card_key(), &sealed, &expected, today)
            .map_err(|error| Fail::refused(error.code()))?
            .check(record(args)?.as_ref())
            .map_err(|error| Fail::refused(error.code()))?;
        let session = initiate(&me.device, bundle, &link, &route, &mut draws)
            .map_err(|error| Fail::refused(error.code()))?;
        let drawn = draws.finish()?;
        let mut out = json!({
            "id": hex(session.id().as_bytes()),
            "draws": with_names(&INITIATE_DRAWS, &drawn)?,
        });
        if self.traced {
            let trace =
                super::traced::initiated(me, &link, &sealed, route.as_bytes(), &drawn, &session)?;
            crate::trace::put(&mut out, "intermediate", json!({ "handshake": trace }));
        }
        self.drawn(draws);
        self.sessions.insert(name, Held { session, person, accepted: None });
        Ok(out)
    }
}
