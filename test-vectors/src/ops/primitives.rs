//! Primitives, labels, and the equations that are made of them. The core does
//! not give its own away, so these are put together here; what they give is
//! compared with the core by the traces of the conversations.

use serde_json::{Value, json};
use undertone_core::{LinkSecret, Routing};

use crate::Fail;
use crate::Outcome;
use crate::prim::{self, Kem};
use crate::stream::Stream;
use crate::trace::{self, EpochSecret};
use crate::value::{Args, hex};

pub(super) fn run(op: &str, args: &Args<'_>) -> Option<Outcome<Value>> {
    Some(match op {
        "x25519-key" => x25519_key(args),
        "x25519-exchange" => x25519(args),
        "ed25519-key" => ed25519_key(args),
        "ed25519-verify" => verify(args),
        "ml-kem-key" => kem_key(args),
        "ml-kem-generate" => kem_generate(args),
        "ml-kem-encapsulate" => kem_encapsulate(args),
        "ml-kem-decapsulate" => kem_decapsulate(args),
        "route" => route(args),
        "stream" => stream(args),
        "label-hash" => label_hash(args),
        "label-expand" => label_expand(args),
        "label-sign" => label_sign(args),
        "label-seal" => label_seal(args),
        "link-keys" => link_keys(args),
        "transcript" => transcript(args),
        "handshake-keys" => handshake_keys(args),
        "plain-step" => step(args, false),
        "epoch-step" => step(args, true),
        "chain" => chain(args),
        "nonce" => nonce(args),
        "body-key" => body_key(args),
        "chain-constants" => constants(args),
        "kem-hashes" => kem_hashes(args),
        "first-epoch-tag" => first_epoch_tag(args),
        "epoch-tag" => epoch_tag(args),
        "file-keys" => file_keys(args),
        _ => return None,
    })
}

fn x25519_key(args: &Args<'_>) -> Outcome<Value> {
    prim::x25519_key(&args.array("public")?)?;
    Ok(json!({}))
}

fn x25519(args: &Args<'_>) -> Outcome<Value> {
    let shared = prim::x25519(&args.array("private")?, &args.array("public")?)?;
    Ok(json!({ "shared": hex(&shared) }))
}

fn ed25519_key(args: &Args<'_>) -> Outcome<Value> {
    prim::ed25519_key(&args.array("public")?)?;
    Ok(json!({}))
}

fn verify(args: &Args<'_>) -> Outcome<Value> {
    prim::verify(&args.array("public")?, &args.bytes("message")?, &args.array("signature")?)?;
    Ok(json!({}))
}

fn kem_key(args: &Args<'_>) -> Outcome<Value> {
    Kem::of(args.number("set")?)?.encapsulate(&args.hex("ek")?, &[0; 32])?;
    Ok(json!({}))
}

fn kem_generate(args: &Args<'_>) -> Outcome<Value> {
    let ek = Kem::of(args.number("set")?)?.generate(&args.array("seed")?);
    Ok(json!({ "ek": hex(&ek) }))
}

fn kem_encapsulate(args: &Args<'_>) -> Outcome<Value> {
    let kem = Kem::of(args.number("set")?)?;
    let (ciphertext, secret) = kem.encapsulate(&args.hex("ek")?, &args.array("message")?)?;
    Ok(json!({ "ciphertext": hex(&ciphertext), "secret": hex(&secret) }))
}

fn kem_decapsulate(args: &Args<'_>) -> Outcome<Value> {
    let kem = Kem::of(args.number("set")?)?;
    let secret = kem.decapsulate(&args.array("seed")?, &args.hex("ciphertext")?)?;
    Ok(json!({ "secret": hex(&secret) }))
}

fn route(args: &Args<'_>) -> Outcome<Value> {
    Routing::new(&args.bytes("route")?).map_err(|error| Fail::refused(error.code()))?;
    Ok(json!({}))
}

fn stream(args: &Args<'_>) -> Outcome<Value> {
    let bytes = Stream::new(args.array("seed")?).take(args.size("length")?.min(1 << 16));
    Ok(json!({ "bytes": hex(&bytes) }))
}

/// The text behind `Undertone v1 `.
fn label<'a>(args: &Args<'a>) -> Outcome<&'a str> {
    let text = args.str("text")?.strip_prefix("Undertone v1 ");
    text.ok_or_else(|| Fail::wrong("no label of this protocol"))
}

fn label_hash(args: &Args<'_>) -> Outcome<Value> {
    let parts = args.hex_list("parts")?;
    let parts: Vec<&[u8]> = parts.iter().map(Vec::as_slice).collect();
    Ok(json!({ "hash": hex(&prim::hash(label(args)?, &parts)) }))
}

fn label_expand(args: &Args<'_>) -> Outcome<Value> {
    let (key, info, length) = (args.hex("key")?, args.hex("info")?, args.size("length")?);
    Ok(json!({ "bytes": hex(&prim::expand(&key, label(args)?, &[&info], length)?) }))
}

fn label_sign(args: &Args<'_>) -> Outcome<Value> {
    let message = [prim::label(label(args)?), args.bytes("message")?].concat();
    Ok(json!({ "signature": hex(&prim::sign(&args.array("secret")?, &message)) }))
}

fn label_seal(args: &Args<'_>) -> Outcome<Value> {
    let ad = prim::label(label(args)?);
    let sealed = prim::seal(&args.array("key")?, &args.array("nonce")?, &ad, &args.hex("plain")?)?;
    Ok(json!({ "sealed": hex(&sealed) }))
}

fn link_keys(args: &Args<'_>) -> Outcome<Value> {
    let secret = LinkSecret::from_bytes(&args.array("link_secret")?);
    let [_, (_, card), (_, hello), (_, psk)] = secret.dangerous_secrets();
    Ok(json!({
        "fetch_capability": hex(secret.fetch_capability().as_bytes()),
        "card_key": hex(&card),
        "hello_key": hex(&hello),
        "link_psk": hex(&psk),
    }))
}

fn transcript(args: &Args<'_>) -> Outcome<Value> {
    let t0 = prim::hash("transcript", &[]);
    let t1 = trace::add(&t0, 1, &args.bytes("bundle")?);
    let t2 = trace::add(&t1, 2, &args.bytes("ephemeral")?);
    let t3 = trace::add(&t2, 3, &args.bytes("ciphertext")?);
    let t4 = trace::add(&t3, 4, &args.bytes("identity")?);
    Ok(json!({
        "t0": hex(&t0), "t1": hex(&t1), "t2": hex(&t2), "t3": hex(&t3), "t4": hex(&t4),
    }))
}

fn handshake_keys(args: &Args<'_>) -> Outcome<Value> {
    let input: [[u8; 32]; 3] = [
        args.array("ss")?,
        args.array("dh_ephemeral_prekey")?,
        args.array("dh_ephemeral_identity")?,
    ];
    let prk1 = prim::extract(&args.hex("link_psk")?, &input.concat());
    let [identity] = prim::keys(&prk1, "identity key", &[&args.hex("t3")?])?;
    let t4 = args.hex("t4")?;
    let [chain] = prim::keys(&prk1, "handshake chain", &[&t4])?;
    let prk2 = prim::extract(&chain, &args.hex("dh_identity_prekey")?);
    let [root, hk_a, hk_b] = prim::keys(&prk2, "session keys", &[&t4])?;
    Ok(json!({
        "prk1": hex(&prk1),
        "identity_key": hex(&identity),
        "handshake_chain": hex(&chain),
        "prk2": hex(&prk2),
        "root": hex(&root),
        "hk_a": hex(&hk_a),
        "hk_b": hex(&hk_b),
    }))
}

fn step(args: &Args<'_>, with_epoch: bool) -> Outcome<Value> {
    let epoch = if with_epoch {
        Some(EpochSecret {
            epoch: args.u32("epoch")?,
            ss: args.array("ss")?,
            h_ek: args.array("h_ek")?,
            h_ct: args.array("h_ct")?,
        })
    } else {
        None
    };
    let [root, chain, next] =
        trace::step(&args.array("root")?, &args.array("exchange")?, epoch.as_ref())?;
    Ok(json!({ "root": hex(&root), "chain_key": hex(&chain), "next_header_key": hex(&next) }))
}

fn chain(args: &Args<'_>) -> Outcome<Value> {
    let mut chain = args.array("chain_key")?;
    let mut keys = Vec::new();
    for _ in 0..args.u32("count")?.min(10_000) {
        let (next, message) = trace::advance(&chain)?;
        keys.push(hex(&message));
        chain = next;
    }
    Ok(json!({ "message_keys": keys, "chain_key": hex(&chain) }))
}

fn nonce(args: &Args<'_>) -> Outcome<Value> {
    let digest = trace::nonce_digest(&args.array::<53>("header")?, &args.bytes("body")?);
    let random: [u8; 12] = args.array("random")?;
    let nonce = trace::nonce(&args.array("message_key")?, &random, &digest)?;
    Ok(json!({ "digest": hex(&digest), "nonce": hex(&nonce) }))
}

fn body_key(args: &Args<'_>) -> Outcome<Value> {
    let key = trace::body_key(&args.array("message_key")?, &args.array("nonce")?)?;
    Ok(json!({ "body_key": hex(&key) }))
}

fn constants(args: &Args<'_>) -> Outcome<Value> {
    let (previous, epoch) = (args.u32("previous")?, args.u32("epoch")?);
    let parts: [&[u8]; 4] = [
        &args.array::<32>("key")?,
        &previous.to_be_bytes(),
        &epoch.to_be_bytes(),
        &args.array::<8>("tag")?,
    ];
    let constants: [u8; 16] = prim::first(&prim::hash("chain constants", &parts));
    Ok(json!({ "constants": hex(&constants) }))
}

fn kem_hashes(args: &Args<'_>) -> Outcome<Value> {
    let h_ek = trace::h_ek(&args.hex("ek")?);
    let h_ct = trace::h_ct(&h_ek, &args.hex("ciphertext")?);
    let tag = |hash| hex(&prim::first::<8>(hash));
    Ok(json!({
        "h_ek": hex(&h_ek),
        "h_ct": hex(&h_ct),
        "key_tag": tag(&h_ek),
        "ciphertext_tag": tag(&h_ct),
    }))
}

fn first_epoch_tag(args: &Args<'_>) -> Outcome<Value> {
    Ok(json!({ "tag": hex(&trace::first_tag(&args.array("session_id")?)) }))
}

fn epoch_tag(args: &Args<'_>) -> Outcome<Value> {
    let tag = trace::epoch_tag(args.u32("epoch")?, &args.array("h_ek")?, &args.array("h_ct")?);
    Ok(json!({ "tag": hex(&tag) }))
}

fn file_keys(args: &Args<'_>) -> Outcome<Value> {
    let key = args.hex("file_key")?;
    let [commitment] = prim::keys(&key, "file commitment", &[])?;
    let [stream] = prim::keys(&key, "file stream", &[])?;
    Ok(json!({ "commitment": hex(&commitment), "stream_key": hex(&stream) }))
}
