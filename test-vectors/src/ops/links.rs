//! Links (03-links) and bundles (03-prekeys).

use serde_json::{Value, json};
use undertone_core::{
    AccountFingerprint, Bundle, BundleError, BundleKind, Day, DeviceList, DeviceSecret, LinkSecret,
    LocalDevice, PrekeySecret, generate_prekey,
};
use undertone_session::link::{Link, LinkError, LinkKind};
use undertone_session::routing::Routing;
use undertone_wire::{RelayAddress, RootFingerprint, WriteCapability};

use crate::conversation::{kind, listed, made_on, record, route};
use crate::stream::Draws;
use crate::value::{Args, hex};
use crate::{Fail, Outcome, prim, trace};

pub(super) fn run(op: &str, args: &Args<'_>) -> Option<Outcome<Value>> {
    Some(match op {
        "link-write" => write(args),
        "link-read" => read(args),
        "link-use" => link_use(args),
        "link-from-contact" => from_contact(args),
        "route-read" => route_read(args),
        "route-write" => route_write(args),
        "bundle-make" => bundle_make(args),
        "bundle-open" => bundle_open(args),
        "prekey-read" => prekey_read(args),
        _ => return None,
    })
}

const KINDS: [(&str, LinkKind); 3] = [
    ("single-use", LinkKind::SingleUse),
    ("reusable", LinkKind::Reusable),
    ("reset", LinkKind::Reset),
];

fn relay(args: &Args<'_>) -> Outcome<RelayAddress> {
    let port = u16::try_from(args.number("port")?).map_err(|_| Fail::wrong("no port"))?;
    let root = RootFingerprint::from_bytes(args.array("root")?);
    RelayAddress::new(args.str("host")?, port, root)
        .map_err(|error| Fail::wrong(format!("no relay: {error}")))
}

fn describe_relay(relay: &RelayAddress) -> Value {
    json!({ "host": relay.host(), "port": relay.port(), "root": hex(relay.root().as_bytes()) })
}

fn write(args: &Args<'_>) -> Outcome<Value> {
    let name = args.str("kind")?;
    let kind = KINDS.iter().find(|(known, _)| *known == name).map(|(_, kind)| *kind);
    let kind = kind.ok_or_else(|| Fail::wrong("no kind of link"))?;
    let link =
        Link::new(kind, args.array("link_secret")?, args.array("fingerprint")?, relay(args)?);
    Ok(json!({ "text": *link.to_text() }))
}

fn parse(args: &Args<'_>) -> Outcome<Link> {
    args.text("text")?.parse().map_err(|error: LinkError| Fail::refused(error.code()))
}

fn read(args: &Args<'_>) -> Outcome<Value> {
    Ok(describe(&parse(args)?))
}

fn link_use(args: &Args<'_>) -> Outcome<Value> {
    let link = parse(args)?;
    if link.is_of(&args.array("own")?) { Err(Fail::refused("R-307")) } else { Ok(describe(&link)) }
}

fn from_contact(args: &Args<'_>) -> Outcome<Value> {
    Link::from_contact(&args.bytes("payload")?, &args.array("contact")?)
        .map(|link| describe(&link))
        .map_err(Fail::refused)
}

fn describe(link: &Link) -> Value {
    let kind = KINDS.iter().find(|(_, kind)| *kind == link.kind()).map(|(name, _)| *name);
    let mut out = describe_relay(link.relay());
    trace::put(&mut out, "kind", json!(kind));
    trace::put(&mut out, "link_secret", hex(link.secret()));
    trace::put(&mut out, "fingerprint", hex(link.account()));
    out
}

fn route_read(args: &Args<'_>) -> Outcome<Value> {
    let route = Routing::from_bytes(&args.bytes("route")?).ok_or_else(|| Fail::refused("R-306"))?;
    let mut out = describe_relay(&route.relay);
    trace::put(&mut out, "write_capability", hex(route.capability.as_bytes()));
    Ok(out)
}

fn route_write(args: &Args<'_>) -> Outcome<Value> {
    let capability = WriteCapability::from_bytes(args.array("write_capability")?);
    Ok(json!({ "route": hex(&Routing { relay: relay(args)?, capability }.to_bytes()) }))
}

fn bundle_make(args: &Args<'_>) -> Outcome<Value> {
    let refused = |error: undertone_core::IdentityError| Fail::refused(error.code());
    let list = DeviceList::parse(&args.bytes("list")?).map_err(refused)?;
    let secret = crate::conversation::device_secret(
        &args.array("signing_secret")?,
        &args.array("dh_secret")?,
    );
    let me = LocalDevice::new(DeviceSecret::from_bytes(&secret), list).map_err(refused)?;
    let link: [u8; 32] = args.array("link_secret")?;
    let route = route(args)?;
    let mut draws = Draws::list(listed(args.get("draws")?)?);
    let made = made_on(args)?;
    let (secret, bundle) = generate_prekey(kind(args)?, &me, made, &route, &mut draws);
    let sealed = bundle.seal(&LinkSecret::from_bytes(&link).card_key(), &mut draws);
    draws.finish()?;
    Ok(json!({
        "bundle": hex(&unseal(&link, &sealed)?),
        "digest": hex(secret.digest().as_bytes()),
        "stored": hex(&secret.to_bytes()),
        "sealed": hex(&sealed),
    }))
}

fn unseal(link: &[u8; 32], sealed: &[u8]) -> Outcome<Vec<u8>> {
    let wrong = || Fail::wrong("the bundle does not open under the card key of the text");
    let [card] = prim::keys(link, "link card", &[])?;
    let (nonce, rest) = sealed.split_first_chunk::<12>().ok_or_else(wrong)?;
    prim::open(&card, nonce, &prim::label("card seal"), rest).ok_or_else(wrong)
}

fn name(kind: BundleKind) -> &'static str {
    match kind {
        BundleKind::OneTime => "one-time",
        BundleKind::LastResort => "last-resort",
    }
}

fn bundle_open(args: &Args<'_>) -> Outcome<Value> {
    let (link, sealed) = (args.array("link_secret")?, args.bytes("sealed")?);
    let expected = AccountFingerprint::from_bytes(args.array("fingerprint")?);
    let card = LinkSecret::from_bytes(&link).card_key();
    let refused = |error: BundleError| Fail::refused(error.code());
    let bundle =
        Bundle::open(&card, &sealed, &expected, Day::new(args.u32("today")?)).map_err(refused)?;
    let out = json!({
        "kind": name(bundle.kind()),
        "id": hex(bundle.id().as_bytes()),
        "expiry": bundle.expiry().get(),
        "device_keys": hex(&bundle.device().to_bytes()),
        "list": hex(bundle.list().as_bytes()),
        "route": hex(bundle.reply().as_bytes()),
        "digest": hex(&trace::bundle_digest(&unseal(&link, &sealed)?)),
    });
    bundle.check(record(args)?.as_ref()).map_err(|error| Fail::refused(error.code()))?;
    Ok(out)
}

fn prekey_read(args: &Args<'_>) -> Outcome<Value> {
    let prekey = PrekeySecret::from_bytes(&args.bytes("stored")?)
        .map_err(|error| Fail::refused(error.code()))?;
    Ok(json!({
        "kind": name(prekey.kind()),
        "id": hex(prekey.id().as_bytes()),
        "expiry": prekey.expiry().get(),
        "digest": hex(prekey.digest().as_bytes()),
    }))
}
