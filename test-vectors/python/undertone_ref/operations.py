"""The operations of the vectors: one function each, from inputs to outputs."""

from . import (
    attachments,
    backup,
    certificates,
    content,
    handshake,
    identity,
    links,
    operator_log,
    pq,
    prekeys,
    primitives,
    random_conversations,
    ratchet,
    restore,
    state,
    wire,
)
from .draws import Stream
from .transcript import T0, add
from .values import Text, to_bytes, to_draws, to_text, unhex

KIND_NAMES = {prekeys.ONE_TIME: "one-time", prekeys.LAST_RESORT: "last-resort"}
KIND_NUMBERS = {name: number for number, name in KIND_NAMES.items()}
KEMS = {768: primitives.MLKEM768, 1024: primitives.MLKEM1024}

OPERATIONS = {}


def _operation(function):
    OPERATIONS[function.__name__.replace("_", "-")] = function
    return function


def perform(op: str, inputs: dict) -> dict:
    return OPERATIONS[op](inputs)


def to_record(value) -> identity.Record | None:
    return None if value is None else identity.Record.read(unhex(value))


# primitives


@_operation
def x25519_key(i):
    primitives.check_dh_public(unhex(i["public"]))
    return {}


@_operation
def x25519_exchange(i):
    public = unhex(i["public"])
    primitives.check_dh_public(public)
    return {"shared": primitives.dh(unhex(i["private"]), public)}


@_operation
def ed25519_key(i):
    primitives.check_sign_public(unhex(i["public"]))
    return {}


@_operation
def ed25519_verify(i):
    public = unhex(i["public"])
    primitives.check_sign_public(public)
    primitives.verify(public, to_bytes(i["message"]), unhex(i["signature"]))
    return {}


@_operation
def ml_kem_key(i):
    KEMS[i["set"]].check_key(unhex(i["ek"]))
    return {}


@_operation
def ml_kem_generate(i):
    return {"ek": KEMS[i["set"]].key(unhex(i["seed"]))}


@_operation
def ml_kem_encapsulate(i):
    kem, ek = KEMS[i["set"]], unhex(i["ek"])
    kem.check_key(ek)
    secret, ciphertext = kem.encapsulate(ek, unhex(i["message"]))
    return {"ciphertext": ciphertext, "secret": secret}


@_operation
def ml_kem_decapsulate(i):
    kem = KEMS[i["set"]]
    return {"secret": kem.decapsulate(unhex(i["seed"]), unhex(i["ciphertext"]))}


@_operation
def route(i):
    prekeys.check_route_made(to_bytes(i["route"]))
    return {}


@_operation
def stream(i):
    return {"bytes": Stream(unhex(i["seed"])).take(i["length"])}


# labels


def _label(i) -> bytes:
    label = primitives.LABELS[i["label"]]
    if label.decode() != i["text"]:
        raise ValueError(f"{i['label']} is {label!r}")
    return label


@_operation
def label_hash(i):
    return {"hash": primitives.hash_(_label(i), *map(unhex, i["parts"]))}


@_operation
def label_expand(i):
    out = primitives.expand(unhex(i["key"]), _label(i) + unhex(i["info"]), i["length"])
    return {"bytes": out}


@_operation
def label_sign(i):
    return {"signature": primitives.sign(unhex(i["secret"]), _label(i) + to_bytes(i["message"]))}


@_operation
def label_seal(i):
    sealed = primitives.seal(unhex(i["key"]), unhex(i["nonce"]), _label(i), unhex(i["plain"]))
    return {"sealed": sealed}


# kdf


@_operation
def link_keys(i):
    keys = prekeys.LinkKeys.of(unhex(i["link_secret"]))
    return {
        "fetch_capability": keys.fetch_capability,
        "card_key": keys.card_key,
        "hello_key": keys.hello_key,
        "link_psk": keys.psk,
    }


@_operation
def transcript(i):
    t = [T0]
    for kind, name in enumerate(("bundle", "ephemeral", "ciphertext", "identity"), 1):
        t.append(add(t[-1], kind, to_bytes(i[name])))
    return {f"t{n}": value for n, value in enumerate(t)}


@_operation
def handshake_keys(i):
    schedule = handshake.Schedule.begin(
        unhex(i["link_psk"]),
        unhex(i["ss"]),
        unhex(i["dh_ephemeral_prekey"]),
        unhex(i["dh_ephemeral_identity"]),
        unhex(i["t3"]),
    )
    keys = schedule.finish(unhex(i["t4"]), unhex(i["dh_identity_prekey"]))
    return {"prk1": schedule.prk1, "identity_key": schedule.identity_key, **keys}


def _step(i, secret):
    root, chain_key, next_ = ratchet.step(unhex(i["root"]), unhex(i["exchange"]), secret)
    return {"root": root, "chain_key": chain_key, "next_header_key": next_}


@_operation
def plain_step(i):
    return _step(i, None)


@_operation
def epoch_step(i):
    secret = ratchet.EpochSecret(
        i["epoch"], unhex(i["ss"]), unhex(i["h_ek"]), unhex(i["h_ct"])
    )
    return _step(i, secret)


@_operation
def chain(i):
    key, out = unhex(i["chain_key"]), []
    for _ in range(i["count"]):
        key, message_key = ratchet.advance(key)
        out.append(message_key)
    return {"message_keys": out, "chain_key": key}


@_operation
def nonce(i):
    digest = ratchet.nonce_digest(unhex(i["header"]), to_bytes(i["body"]))
    made = ratchet.make_nonce(unhex(i["message_key"]), unhex(i["random"]), digest)
    return {"digest": digest, "nonce": made}


@_operation
def body_key(i):
    return {"body_key": ratchet.body_key(unhex(i["message_key"]), unhex(i["nonce"]))}


@_operation
def chain_constants(i):
    out = ratchet.chain_constants(unhex(i["key"]), i["previous"], i["epoch"], unhex(i["tag"]))
    return {"constants": out}


@_operation
def kem_hashes(i):
    key_hash = pq.h_ek(unhex(i["ek"]))
    ciphertext_hash = pq.h_ct(key_hash, unhex(i["ciphertext"]))
    return {
        "h_ek": key_hash,
        "h_ct": ciphertext_hash,
        "key_tag": key_hash[:8],
        "ciphertext_tag": ciphertext_hash[:8],
    }


@_operation
def first_epoch_tag(i):
    return {"tag": pq.first_tag(unhex(i["session_id"]))}


@_operation
def epoch_tag(i):
    return {"tag": pq.epoch_tag(i["epoch"], unhex(i["h_ek"]), unhex(i["h_ct"]))}


@_operation
def file_keys(i):
    key = unhex(i["file_key"])
    return {"commitment": attachments.commitment(key), "stream_key": attachments.stream_key(key)}


# identity


def _list_description(device_list: identity.DeviceList) -> dict:
    return {
        "account": device_list.account,
        "counter": device_list.counter,
        "devices": [
            {
                "signing": entry.signing_key,
                "dh": entry.dh_key,
                "certificate": entry.certificate,
                "extension": entry.extension,
            }
            for entry in device_list.devices
        ],
        "record": device_list.record.write(),
    }


def _device(i) -> identity.Device:
    return identity.Device(unhex(i["signing_secret"]), unhex(i["dh_secret"]))


@_operation
def account(i):
    key = primitives.sign_public(unhex(i["account_secret"]))
    return {"account": key, "fingerprint": identity.fingerprint(key)}


@_operation
def account_key(i):
    key = unhex(i["account"])
    identity.check_account_key(key)
    return {"fingerprint": identity.fingerprint(key)}


@_operation
def device(i):
    made = _device(i)
    return {"device_keys": made.keys, "stored": made.stored}


@_operation
def list_issue(i):
    issued = identity.issue_list(
        unhex(i["account_secret"]),
        [unhex(keys) for keys in i["devices"]],
        i["unix_seconds"],
        to_record(i["previous"]),
    )
    return {"list": issued.data, "record": issued.record.write()}


@_operation
def list_read(i):
    return _list_description(identity.DeviceList.read(to_bytes(i["list"])))


@_operation
def list_follow(i):
    device_list = identity.DeviceList.read(to_bytes(i["list"]))
    return {"record": device_list.follow(to_record(i["record"])).write()}


@_operation
def local_device(i):
    device_list = identity.DeviceList.read(to_bytes(i["list"]))
    return {"index": device_list.index_of(_device(i))}


@_operation
def safety_number(i):
    keys = unhex(i["one"]), unhex(i["other"])
    return {"digits": Text(identity.safety_number(*keys)), "qr": identity.safety_qr(*keys)}


@_operation
def qr_match(i):
    matches = identity.qr_matches(unhex(i["one"]), unhex(i["other"]), unhex(i["scanned"]))
    return {"matches": matches}


# links


_LINK_KINDS = {name: number for number, name in links.KINDS.items()}


def _address(i) -> links.Address:
    return links.Address(to_text(i["host"]).encode(), i["port"], unhex(i["root"]))


def _address_description(address: links.Address) -> dict:
    return {"host": Text(address.host.decode()), "port": address.port, "root": address.root}


@_operation
def link_write(i):
    link = links.Link(
        _LINK_KINDS[i["kind"]], unhex(i["link_secret"]), unhex(i["fingerprint"]), _address(i)
    )
    return {"text": Text(link.text())}


@_operation
def link_read(i):
    return _link_description(links.read_link(to_text(i["text"])))


@_operation
def link_use(i):
    return _link_description(links.read_link(to_text(i["text"]), unhex(i["own"])))


@_operation
def link_from_contact(i):
    link = links.read_reset_link(to_bytes(i["payload"]), unhex(i["contact"]))
    return _link_description(link)


def _link_description(link: links.Link) -> dict:
    return {
        "kind": Text(links.KINDS[link.kind]),
        "link_secret": link.secret,
        "fingerprint": link.fingerprint,
        **_address_description(link.address),
    }


@_operation
def route_read(i):
    read = links.Route.read(to_bytes(i["route"]))
    return _address_description(read.address) | {"write_capability": read.write_capability}


@_operation
def route_write(i):
    return {"route": links.Route(_address(i), unhex(i["write_capability"])).write()}


# bundles


@_operation
def bundle_make(i):
    draw = to_draws(i["draws"])
    bundle, private = prekeys.make_bundle(
        _device(i),
        identity.DeviceList.read(to_bytes(i["list"])),
        KIND_NUMBERS[i["kind"]],
        i["expiry"],
        to_bytes(i["route"]),
        draw,
    )
    card_key = prekeys.LinkKeys.of(unhex(i["link_secret"])).card_key
    sealed = prekeys.seal_bundle(card_key, bundle, draw)
    draw.end()
    return {
        "bundle": bundle,
        "digest": private.digest,
        "stored": private.write(),
        "sealed": sealed,
    }


@_operation
def bundle_open(i):
    bundle = prekeys.Bundle.open(
        prekeys.LinkKeys.of(unhex(i["link_secret"])).card_key,
        to_bytes(i["sealed"]),
        unhex(i["fingerprint"]),
        i["today"],
        to_record(i["record"]),
    )
    return {
        "kind": Text(KIND_NAMES[bundle.kind]),
        "id": bundle.id,
        "expiry": bundle.expiry,
        "device_keys": bundle.device_keys,
        "list": bundle.list.data,
        "route": bundle.route,
        "digest": bundle.digest,
    }


@_operation
def prekey_read(i):
    prekey = prekeys.PrivatePrekey.read(to_bytes(i["stored"]))
    return {
        "kind": Text(KIND_NAMES[prekey.kind]),
        "id": prekey.id,
        "expiry": prekey.expiry,
        "digest": prekey.digest,
    }


# files


@_operation
def padded_length(i):
    n = i["length"]
    return {"padded": attachments.padded_length(n), "blob": attachments.blob_length(n)}


@_operation
def file_seal(i):
    key = unhex(i["file_key"])
    blob = attachments.seal_file(key, to_bytes(i["content"]), i["length"])
    return {"commitment": attachments.commitment(key), "blob": blob}


def _blob(value) -> bytes:
    if not isinstance(value, dict) or "file_key" not in value:
        return to_bytes(value)
    blob = attachments.seal_file(unhex(value["file_key"]), to_bytes(value["content"]))
    for edit in value["edits"]:
        blob = _edit(blob, edit)
    return blob


def _edit(blob: bytes, edit: dict, head: int = attachments.COMMITMENT) -> bytes:
    if "xor" in edit:
        return xor(blob, unhex(edit["xor"]), edit["at"])
    if "cut" in edit:
        return blob[: edit["cut"]]
    if "append" in edit:
        return blob + to_bytes(edit["append"])
    size = 65_552
    one, other = (head + size * i for i in sorted(edit["swap"]))
    return (
        blob[:one] + blob[other : other + size] + blob[one + size : other]
        + blob[one : one + size] + blob[other + size :]
    )


def xor(data: bytes, mask: bytes, at: int) -> bytes:
    if at + len(mask) > len(data):
        raise ValueError("an edit goes beyond the end")
    out = bytearray(data)
    for i, byte in enumerate(mask):
        out[at + i] ^= byte
    return bytes(out)


@_operation
def file_open(i):
    plain = attachments.open_file(unhex(i["file_key"]), _blob(i["blob"]), i["length"])
    return {"content": plain}


@_operation
def attachment_open(i):
    plain = attachments.open_attachment(
        unhex(i["file_key"]), _blob(i["blob"]), i["length"], unhex(i["sha256"]),
        unhex(i["commitment"]),
    )
    return {"content": plain}


@_operation
def chunk_open(i):
    opener = attachments.FileOpener.begin(
        unhex(i["file_key"]), unhex(i["commitment"]), i["length"]
    )
    return {"content": opener.open_chunk(i["index"], to_bytes(i["chunk"]))}


# content


_TEXTS = {"text", "name", "media_type", "caption"}
_PLAIN = {"size", "removed", "active", "seconds", "cause"}


def _from_field(name: str, value):
    if name in _PLAIN:
        return value
    if name in _TEXTS:
        return to_text(value)
    return [unhex(v) for v in value] if name in ("ids", "sessions") else to_bytes(value)


@_operation
def content_read(i):
    read = content.Content.read(to_bytes(i["content"]))
    fields = {
        name: Text(value) if isinstance(value, str) else value
        for name, value in read.fields.items()
    }
    return {"kind": read.kind, "id": read.id, "sent_at": read.sent_at, "fields": fields}


@_operation
def content_write(i):
    fields = {name: _from_field(name, value) for name, value in i["fields"].items()}
    made = content.Content(i["kind"], unhex(i["id"]), i["sent_at"], fields)
    return {"content": made.write()}


# state


@_operation
def state_read(i):
    return {"stored": state.write(state.read(to_bytes(i["stored"])))}


# random


@_operation
def random_conversations_(i):
    return random_conversations.hashes(i["count"])


OPERATIONS["random-conversations"] = OPERATIONS.pop("random-conversations-")


# relay


# Members of frames in JSON, where they are named otherwise than in `wire`.
_IN_JSON = {
    "id": "request_id", "is": "kind", "kind": "mailbox_kind", "hashes": "capability_hashes",
    "depot": "depot_id", "bundles": "one_time", "left": "one_time", "outcome": "result",
    "floors": "acknowledgements", "prekey": "answer", "blob": "blob_id",
}
_FRAMES = {
    "client": wire.CLIENT_FRAME,
    "owner-body": wire.OWNER_BODY,
    "resume-body": wire.RESUME_BODY,
    "server": wire.SERVER_FRAME,
    "blob-request": wire.BLOB_REQUEST,
    "blob-reply": wire.BLOB_REPLY,
}


def _frame_from(kind, value):
    """A frame of `wire` from JSON."""
    match kind:
        case wire.Word():
            return value["kind"]
        case wire.Choice():
            fields = dict(kind.variants)[value["kind"]]
            rest = {name: v for name, v in value.items() if name != "kind"}
            return {"is": value["kind"]} | _frame_from(fields, rest)
        case wire.Struct():
            names = {name: _IN_JSON.get(name, name) for name in kind.fields}
            if set(names.values()) != set(value):
                raise ValueError(f"{sorted(value)} are not {sorted(names.values())}")
            return {n: _frame_from(kind.fields[n], value[j]) for n, j in names.items()}
        case wire.Option():
            return None if value is None else _frame_from(kind.item, value)
        case wire.ListOf():
            return [_frame_from(kind.item, v) for v in value]
        case wire.Fixed() | wire.Bytes():
            return to_bytes(value)
    return value


def _frame_to(kind, value):
    """A frame of `wire` as a result."""
    match kind:
        case wire.Word():
            return {"kind": Text(value)}
        case wire.Choice():
            return {"kind": Text(value["is"])} | _frame_to(dict(kind.variants)[value["is"]], value)
        case wire.Struct():
            return {_IN_JSON.get(n, n): _frame_to(k, value[n]) for n, k in kind.fields.items()}
        case wire.Option():
            return None if value is None else _frame_to(kind.item, value)
        case wire.ListOf():
            return [_frame_to(kind.item, v) for v in value]
    return value


@_operation
def frame_write(i):
    kind = _FRAMES[i["type"]]
    return {"bytes": wire.write_frame(kind, _frame_from(kind, i["frame"]))}


@_operation
def frame_read(i):
    kind = _FRAMES[i["type"]]
    return {"frame": _frame_to(kind, wire.read_frame(kind, to_bytes(i["bytes"])))}


@_operation
def message_length(i):
    length = int.from_bytes(to_bytes(i["prefix"]), "big")
    wire.check_length(length, i["stream"])
    return {"length": length}


@_operation
def frame_bound(i):
    wire.check_bound(_FRAMES[i["type"]], to_bytes(i["head"]), i["length"])
    return {}


@_operation
def stream_kind(i):
    (byte,) = unhex(i["byte"])
    return {"kind": Text(wire.check_stream_kind(byte))}


@_operation
def envelope_size(i):
    wire.check_envelope_size(i["length"])
    return {}


@_operation
def bundle_size(i):
    wire.check_bundle_size(i["length"])
    return {}


@_operation
def credit(i):
    wire.check_credit(i["credit"])
    return {}


@_operation
def relay_certificates(i):
    certificates.check(unhex(i["root"]), [unhex(der) for der in i["chain"]], i["unix_seconds"])
    return {}


def _operator_log(i):
    entries = [entry | {"hash": unhex(entry["hash"])} for entry in i["entries"]]
    anchors = [(anchor["number"], unhex(anchor["hash"])) for anchor in i["anchors"]]
    return {"last": operator_log.verify(entries, anchors)}


OPERATIONS["operator-log"] = _operator_log


@_operation
def identifier(i):
    return {"id": primitives.sha256(b"undertone/1 " + i["of"].encode() + to_bytes(i["value"]))}


@_operation
def address_read(i):
    read = wire.TextAddress.read(to_text(i["text"]), i["kind"])
    return _address_description(read.address) | {"token": read.token}


@_operation
def owner_sign(i):
    body = to_bytes(i["body"])
    operation = wire.read_frame(wire.OWNER_BODY, body)["operation"]
    signed = wire.signed_message(unhex(i["exporter"]), wire.operation_code(operation), body)
    return {
        "signed": signed,
        "signatures": [primitives.sign(unhex(secret), signed) for secret in i["secrets"]],
    }


@_operation
def owner_verify(i):
    request = {
        "body": to_bytes(i["body"]), "signatures": [unhex(s) for s in i["signatures"]],
    }
    wire.check_owner_request(unhex(i["exporter"]), i["request_id"], request)
    return {}


@_operation
def resume_verify(i):
    credit = wire.check_resume(
        unhex(i["exporter"]), i["request_id"], unhex(i["session_key"]), to_bytes(i["body"]),
        unhex(i["signature"]),
    )
    return {"credit": credit}


# backup


@_operation
def recovery_key_write(i):
    return {"text": Text(backup.write_key(unhex(i["secret"])))}


@_operation
def recovery_key_read(i):
    return {"text": Text(backup.write_key(backup.read_key(to_text(i["text"]))))}


@_operation
def backup_write(i):
    return backup.written(unhex(i["secret"]), unhex(i["salt"]), 1, to_bytes(i["records"]))


def _backup_file(file: dict) -> bytes:
    data = backup.write_file(
        unhex(file["secret"]), unhex(file["salt"]), file["version"], to_bytes(file["records"])
    )
    for edit in file["edits"]:
        data = _edit(data, edit, backup.HEAD)
    return data


@_operation
def backup_read(i):
    return backup.read_file(unhex(i["secret"]), _backup_file(i["file"]))


@_operation
def backup_restore(i):
    return restore.restore(unhex(i["secret"]), _backup_file(i["file"]), i["now"])
