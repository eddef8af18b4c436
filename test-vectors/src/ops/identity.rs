//! Identity (02).

use serde_json::{Value, json};
use undertone_core::{
    AccountKey, AccountSecret, DeviceKeys, DeviceList, DeviceSecret, IdentityError, LocalDevice,
    SafetyNumber,
};

use crate::conversation::{device_secret, record};
use crate::value::{Args, hex};
use crate::{Fail, Outcome};

pub(super) fn run(op: &str, args: &Args<'_>) -> Option<Outcome<Value>> {
    Some(match op {
        "account" => account(args),
        "account-key" => account_key(args),
        "device" => device(args),
        "list-issue" => issue(args),
        "list-read" => read(args),
        "list-follow" => follow(args),
        "local-device" => local(args),
        "safety-number" => safety_number(args),
        "qr-match" => qr_match(args),
        _ => return None,
    })
}

fn refused(error: IdentityError) -> Fail {
    Fail::refused(error.code())
}

fn account(args: &Args<'_>) -> Outcome<Value> {
    let key = AccountSecret::from_bytes(&args.array("account_secret")?).public();
    Ok(json!({ "account": hex(key.as_bytes()), "fingerprint": hex(key.fingerprint().as_bytes()) }))
}

fn account_key(args: &Args<'_>) -> Outcome<Value> {
    let key = AccountKey::from_bytes(&args.array("account")?).map_err(refused)?;
    Ok(json!({ "fingerprint": hex(key.fingerprint().as_bytes()) }))
}

fn secret(args: &Args<'_>) -> Outcome<DeviceSecret> {
    let both = device_secret(&args.array("signing_secret")?, &args.array("dh_secret")?);
    Ok(DeviceSecret::from_bytes(&both))
}

fn device(args: &Args<'_>) -> Outcome<Value> {
    let secret = secret(args)?;
    Ok(json!({
        "device_keys": hex(&secret.public().to_bytes()),
        "stored": hex(&*secret.to_bytes()),
    }))
}

fn issue(args: &Args<'_>) -> Outcome<Value> {
    let devices = args
        .hex_list("devices")?
        .into_iter()
        .map(|keys| {
            let keys = keys.try_into().map_err(|_| Fail::wrong("device keys have 64 bytes"))?;
            DeviceKeys::from_bytes(&keys).map_err(refused)
        })
        .collect::<Outcome<Vec<_>>>()?;
    let account = AccountSecret::from_bytes(&args.array("account_secret")?);
    let previous = match args.optional("previous") {
        None => None,
        Some(_) => Some(
            undertone_core::ListRecord::from_bytes(&args.array("previous")?).map_err(refused)?,
        ),
    };
    let at = args.number("unix_seconds")?;
    let list = DeviceList::issue(&account, previous.as_ref(), at, &devices).map_err(refused)?;
    Ok(json!({ "list": hex(list.as_bytes()), "record": hex(&list.record().to_bytes()) }))
}

fn read(args: &Args<'_>) -> Outcome<Value> {
    let bytes = args.bytes("list")?;
    let list = DeviceList::parse(&bytes).map_err(refused)?;
    // Where the entries stand follows from what was read.
    let mut at = 41;
    let mut devices = Vec::new();
    for device in list.devices() {
        let keys = device.keys().to_bytes();
        let (signing, dh) = keys.split_at(32);
        devices.push(json!({
            "signing": hex(signing),
            "dh": hex(dh),
            "certificate": hex(bytes.get(at + 64..at + 128).unwrap_or_default()),
            "extension": hex(device.extension()),
        }));
        at += 130 + device.extension().len();
    }
    Ok(json!({
        "account": hex(list.account().as_bytes()),
        "counter": list.counter(),
        "devices": devices,
        "record": hex(&list.record().to_bytes()),
    }))
}

fn follow(args: &Args<'_>) -> Outcome<Value> {
    let list = DeviceList::parse(&args.bytes("list")?).map_err(refused)?;
    list.follows(record(args)?.as_ref()).map_err(refused)?;
    Ok(json!({ "record": hex(&list.record().to_bytes()) }))
}

fn local(args: &Args<'_>) -> Outcome<Value> {
    let list = DeviceList::parse(&args.bytes("list")?).map_err(refused)?;
    let local = LocalDevice::new(secret(args)?, list).map_err(refused)?;
    let keys = local.keys();
    let index = local.list().devices().iter().position(|device| device.keys() == keys);
    Ok(json!({ "index": index }))
}

fn number(args: &Args<'_>) -> Outcome<SafetyNumber> {
    let one = AccountKey::from_bytes(&args.array("one")?).map_err(refused)?;
    let other = AccountKey::from_bytes(&args.array("other")?).map_err(refused)?;
    Ok(SafetyNumber::new(&one, &other))
}

fn safety_number(args: &Args<'_>) -> Outcome<Value> {
    let number = number(args)?;
    let digits: String = number.digits().chars().filter(char::is_ascii_digit).collect();
    Ok(json!({ "digits": digits, "qr": hex(number.qr_bytes()) }))
}

fn qr_match(args: &Args<'_>) -> Outcome<Value> {
    Ok(json!({ "matches": number(args)?.matches_qr(&args.hex("scanned")?) }))
}
