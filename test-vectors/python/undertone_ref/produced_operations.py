"""Vectors that it makes of single operations: 01 to 03, 08 to 10, 14."""

from . import attachments, backup, curve, identity, links, prekeys
from .content import Content, write_string
from .layout import u8, u16, u32, u64
from .primitives import (
    LABEL_BUNDLE,
    LABEL_CARD_SEAL,
    LABEL_DEVICE_LIST,
    LABELS,
    MLKEM768,
    MLKEM1024,
    dh_public,
    seal,
    sha256,
    sign,
    sign_public,
)

P = 2**255 - 19
TODAY, EXPIRY = 20_000, 20_030


def le(number: int) -> bytes:
    return number.to_bytes(32, "little")


def make(maker) -> None:
    for family in (
        _primitives, _labels, _kdf, _identity, _links, _bundles, _files, _content, _backups,
    ):
        family(maker)


# 01


def _primitives(maker) -> None:
    def vector(name, about, spec, op, inputs, rule=None, stage=None):
        maker.operation("primitives", name, about, [spec], op, inputs, rule, stage)

    x, e, k = "01 §2.1", "01 §2.2", "01 §2.3"
    stream = maker.stream("primitives", "all")
    vector("x25519-key-largest", "The largest canonical u-coordinate.", x, "x25519-key",
           {"public": le(P - 1)})
    for name, number in (
        ("p", P), ("p-plus-18", P + 18), ("top-bit", 9 + 2**255), ("ones", 2**256 - 1),
    ):
        vector(f"r-101-{name}", "A u-coordinate that RFC 7748 would reduce.", x, "x25519-key",
               {"public": le(number)}, "R-101", "read")
    private, other = stream.take(32), dh_public(stream.take(32))
    vector("x25519-exchange", "An exchange.", x, "x25519-exchange",
           {"private": private, "public": other})
    vector("x25519-exchange-on-the-twist", "A u-coordinate of the twist is a key like any other.", x,
           "x25519-exchange", {"private": private, "public": le(2)})
    for name, number in (("zero", 0), ("one", 1), ("minus-one", P - 1)):
        vector(f"r-102-{name}", "A point of low order.", x, "x25519-exchange",
               {"private": private, "public": le(number)}, "R-102", "exchange")

    small = curve.torsion()
    for i in range(8):
        point = curve.multiply(i, small)
        vector(f"r-104-small-order-{i}", f"{i} times a point of order 8.", e, "ed25519-key",
               {"public": curve.encode(point)}, "R-104", "read")
    for name, data in (
        ("y-not-reduced", le(P + 3)),
        ("zero-x-with-sign", le(1 + 2**255)),
        ("no-point", le(2)),
    ):
        vector(f"r-104-{name}", "No canonical encoding of a point.", e, "ed25519-key",
               {"public": data}, "R-104", "read")
    _signatures(vector, stream, small, e)

    for kem, number in ((MLKEM768, 768), (MLKEM1024, 1024)):
        seed, m = stream.take(64), stream.take(32)
        ek = kem.key(seed)
        vector(f"ml-kem-{number}-generate", "A key pair from its seed.", k, "ml-kem-generate",
               {"set": number, "seed": seed})
        vector(f"ml-kem-{number}-encapsulate", "With a message that is given.", k,
               "ml-kem-encapsulate", {"set": number, "ek": ek, "message": m})
        _, ciphertext = kem.encapsulate(ek, m)
        vector(f"ml-kem-{number}-decapsulate", "Its inverse.", k, "ml-kem-decapsulate",
               {"set": number, "seed": seed, "ciphertext": ciphertext})
        vector(f"ml-kem-{number}-implicit-rejection", "A ciphertext for another key.", k,
               "ml-kem-decapsulate",
               {"set": number, "seed": stream.take(64), "ciphertext": ciphertext})
        for name, at, new in (
            ("first-even", 0, b"\x01\x0d"), ("last-odd", kem.key_len - 34, b"\x10\xd0"),
        ):
            bad = ek[:at] + new + ek[at + 2 :]
            vector(f"r-103-{number}-{name}", "A coefficient of 3,329.", k, "ml-kem-key",
                   {"set": number, "ek": bad}, "R-103", "read")
    vector("route-320", "The longest route.", "01 §6", "route",
           {"route": {"repeat": "ab", "count": 320}})
    vector("r-110-route-321", "A route above the bound.", "01 §6", "route",
           {"route": {"repeat": "ab", "count": 321}}, "R-110", "make")
    vector("stream-70", "The generator of bytes over three blocks.", "01 §1", "stream",
           {"seed": stream.take(32), "length": 70})


def _signatures(vector, stream, small, spec) -> None:
    def verify(name, about, public, message, signature, rule=None):
        vector(name, about, spec, "ed25519-verify",
               {"public": public, "message": message, "signature": signature}, rule,
               rule and "verify")

    seed = stream.take(32)
    public, good = sign_public(seed), sign(seed, b"a message")
    verify("ed25519-verify", "A signature.", public, b"a message", good)
    verify("r-105-other-message", "Of another message.", public, b"another", good, "R-105")
    s = int.from_bytes(good[32:], "little")
    verify("r-105-s-not-reduced", "S and the group order.", public, b"a message",
           good[:32] + le(s + curve.ORDER), "R-105")
    a, r = curve.secret_scalar(seed), int.from_bytes(stream.take(31), "little")
    mixed = curve.encode(curve.add(curve.multiply(a, curve.BASE), small))
    r_point = curve.multiply(r, curve.BASE)
    done = set()
    for i in range(200):
        message = b"message %d" % i
        signature, k = curve.sign_with(a, mixed, r, r_point, message)
        if k % 8 == 0 and "valid" not in done:
            done.add("valid")
            verify("ed25519-mixed-order-key",
                   "A key with a part of order 8, and a k that is a multiple of 8: the equation "
                   "holds without the cofactor.", mixed, message, signature)
        if k % 8 and "refused" not in done:
            done.add("refused")
            verify("r-105-only-with-the-cofactor",
                   "A key with a part of order 8: the equation holds only if it is multiplied by "
                   "the cofactor.", mixed, message, signature, "R-105")
    assert len(done) == 2
    mixed_r = curve.add(r_point, small)
    signature, _ = curve.sign_with(a, public, r, mixed_r, b"mixed R")
    verify("r-105-r-with-a-small-part", "R has a part of order 8.", public, b"mixed R", signature,
           "R-105")
    # R is the identity: the equation holds, and R is refused all the same.
    signature, _ = curve.sign_with(a, public, 0, curve.IDENTITY, b"small R")
    verify("r-105-r-of-small-order", "R is the neutral element, and the equation holds.", public,
           b"small R", signature, "R-105")


def _labels(maker) -> None:
    for label, text in LABELS.items():
        stream = maker.stream("labels", label)
        name = label.removeprefix("LABEL_").lower().replace("_", "-")
        head = {"label": label, "text": text.decode()}
        maker.operation("labels", f"{name}-hash", f"`{text.decode()}` in front of a hash.",
                        ["01 §3"], "label-hash",
                        head | {"parts": [stream.take(32), stream.take(8)]})


def _kdf(maker) -> None:
    def vector(name, spec, op, inputs):
        maker.operation("kdf", name, "With inputs at random.", [spec], op, inputs)

    stream = maker.stream("kdf", "all")
    t32 = lambda: stream.take(32)  # noqa: E731
    vector("link-keys", "03-prekeys §1", "link-keys", {"link_secret": t32()})
    vector("transcript", "04 §1", "transcript", {
        "bundle": {"stream": t32().hex(), "length": 4068}, "ephemeral": t32(),
        "ciphertext": {"stream": t32().hex(), "length": 1568},
        "identity": {"stream": t32().hex(), "length": 2416},
    })
    names = ("link_psk", "ss", "dh_ephemeral_prekey", "dh_ephemeral_identity",
             "dh_identity_prekey", "t3", "t4")
    vector("handshake-keys", "04 §3", "handshake-keys", {name: t32() for name in names})
    vector("plain-step", "05 §3", "plain-step", {"root": t32(), "exchange": t32()})
    for epoch in (1, 2**32 - 1):
        vector(f"epoch-step-{epoch}", "05 §3", "epoch-step", {
            "root": t32(), "exchange": t32(), "ss": t32(), "epoch": epoch, "h_ek": t32(),
            "h_ct": t32(),
        })
        vector(f"epoch-tag-{epoch}", "06 §2", "epoch-tag",
               {"epoch": epoch, "h_ek": t32(), "h_ct": t32()})
    vector("chain-7", "05 §4", "chain", {"chain_key": t32(), "count": 7})
    vector("body-key", "05 §4", "body-key", {"message_key": t32(), "nonce": stream.take(12)})
    vector("nonce", "05 §4", "nonce", {
        "message_key": t32(), "random": stream.take(12), "header": stream.take(53),
        "body": {"stream": t32().hex(), "length": 1024 - 97},
    })
    vector("chain-constants", "05 §7", "chain-constants",
           {"key": t32(), "previous": 258, "epoch": 65_539, "tag": stream.take(8)})
    vector("kem-hashes", "06 §2", "kem-hashes",
           {"ek": stream.take(1184), "ciphertext": stream.take(1088)})
    vector("first-epoch-tag", "06 §2", "first-epoch-tag", {"session_id": t32()})
    vector("file-keys", "08 §1", "file-keys", {"file_key": t32()})


# 02


class _Account:
    def __init__(self, stream, devices):
        self.secret = stream.take(32)
        self.devices = [identity.Device(stream.take(32), stream.take(32)) for _ in range(devices)]
        self.keys = [d.keys for d in self.devices]

    def issue(self, seconds=1_700_000_000, previous=None):
        return identity.issue_list(self.secret, self.keys, seconds, previous)

    def with_extension(self, extension: bytes, length: int | None = None) -> bytes:
        """A list of the first device, with an extension."""
        key = sign_public(self.secret)
        data = key + u64(7) + u8(1) + self.keys[0]
        data += identity.certificate(self.secret, self.keys[0])
        data += u16(len(extension) if length is None else length) + extension
        return data + sign(self.secret, LABEL_DEVICE_LIST + data)


def patched(data: bytes, at: int, new: bytes) -> bytes:
    return data[:at] + new + data[at + len(new) :]


def _identity(maker) -> None:
    def vector(name, about, spec, op, inputs, rule=None, stage=None):
        maker.operation("identity", name, about, [spec], op, inputs, rule, stage)

    stream = maker.stream("identity", "all")
    one, two, five = (_Account(stream, n) for n in (1, 2, 5))
    six = _Account(stream, 6)
    vector("account", "An account.", "02 §1", "account", {"account_secret": one.secret})
    vector("r-202-account-key", "An account key of small order.", "02 §1", "account-key",
           {"account": le(1)}, "R-202", "read")
    device = one.devices[0]
    secrets = {"signing_secret": device.signing_secret, "dh_secret": device.dh_secret}
    vector("device", "A device.", "02 §2", "device", secrets)
    vector("local-device", "A device on its list.", "02 §4", "local-device",
           secrets | {"list": one.issue().data})
    vector("r-211-not-on-the-list", "A device on no list of its own.", "02 §4", "local-device",
           secrets | {"list": two.issue().data}, "R-211", "make")

    def issue(name, about, account, seconds, previous, keys=None, rule=None):
        vector(name, about, "02 §4", "list-issue", {
            "account_secret": account.secret, "devices": keys if keys is not None else account.keys,
            "unix_seconds": seconds, "previous": previous and previous.write(),
        }, rule, rule and "make")

    record = two.issue().record
    for n, account in ((1, one), (2, two), (5, five)):
        issue(f"list-issue-{n}", f"{n} devices, no predecessor.", account, 1_700_000_000, None)
    issue("list-issue-clock-behind", "The clock is behind the last counter.", two, 5, record)
    issue("list-issue-clock-ahead", "The clock is ahead of it.", two, 1_800_000_000, record)
    issue("r-203-none", "No device.", one, 5, None, [], "R-203")
    issue("r-203-six", "Six devices.", six, 5, None, six.keys, "R-203")
    issue("r-205-issue", "An X25519 key twice.", two, 5, None,
          [two.keys[0], two.keys[1][:32] + two.keys[0][32:]], "R-205")
    issue("r-210-issue", "After another account's record.", one, 5, record, None, "R-210")
    last = identity.Record(record.account, 2**64 - 1, record.list_hash)
    issue("r-213-counter", "After the last counter.", two, 5, last, None, "R-213")
    issue("list-issue-last-counter", "The last counter but one is followed.", two, 5,
          identity.Record(record.account, 2**64 - 2, record.list_hash))

    def read(name, about, data, rule=None, stage="read"):
        vector(name, about, "02 §4", "list-read", {"list": data}, rule, rule and stage)

    data = five.issue().data
    read("list-read-5", "Five devices.", data)
    read("list-read-extension-256", "The longest extension is accepted.",
         one.with_extension(bytes(range(256))))
    entry = 41 + 130
    read("r-201-empty", "No byte.", b"", "R-201")
    read("r-201-cut", "One byte less.", data[:-1], "R-201")
    read("r-201-longer", "One byte more.", data + b"\0", "R-201")
    read("r-202-before-r-201", "A weak account key, and nothing behind it.", le(1), "R-202")
    read("r-203-zero", "A count of 0.", patched(data, 40, b"\0"), "R-203")
    read("r-203-seven", "A count of 7.", patched(data, 40, b"\7"), "R-203")
    read("r-204-signing-key", "A device's signing key of small order.",
         patched(data, 41, le(1)), "R-204")
    read("r-204-dh-key", "A device's X25519 key that is not canonical.",
         patched(data, 41 + 32, le(P)), "R-204")
    read("r-204-before-r-201", "A weak signing key in a list that ends behind the device keys.",
         patched(data, 41, le(1))[: 41 + 64], "R-204")
    read("r-212-extension-257", "A certificate of 257 bytes of extension, well signed.",
         one.with_extension(bytes(257)), "R-212")
    read("r-212-before-r-201", "An announced extension of 257 bytes that is not there.",
         one.with_extension(b"", 257), "R-212")
    read("r-205-signing-key", "The second device has the first one's signing key.",
         patched(data, entry, data[41 : 41 + 32]), "R-205")
    read("r-205-dh-key", "The last device has the first one's X25519 key.",
         patched(data, 41 + 4 * 130 + 32, data[41 + 32 : 41 + 64]), "R-205")
    read("r-206-certificate", "A certificate with one bit changed.",
         patched(data, entry + 64 + 10, bytes([data[entry + 74] ^ 1])), "R-206", "verify")
    read("r-207-counter", "Another counter.", patched(data, 39, b"\xff"), "R-207", "verify")

    for name, about, record, rule in (
        ("list-follow-first", "Nothing on record.", None, None),
        ("list-follow-same", "The same list.", five.issue().record, None),
        ("list-follow-newer", "A newer list.", five.issue(1).record, None),
        ("r-208-older", "An older list.", five.issue(1_700_000_001).record, "R-208"),
        ("r-209-twin", "The same counter and another list.",
         identity.Record(five.issue().account, 1_700_000_000, bytes(32)), "R-209"),
        ("r-210-other", "Another account, with a higher counter.",
         two.issue(1_800_000_000).record, "R-210"),
    ):
        vector(name, about, "02 §5", "list-follow",
               {"list": data, "record": record and record.write()}, rule, rule and "compare")
    keys = sign_public(one.secret), sign_public(two.secret)
    for name, (a, b) in (("safety-number", keys), ("safety-number-turned", keys[::-1])):
        vector(name, "The same from both sides.", "02 §6", "safety-number", {"one": a, "other": b})
    qr = identity.safety_qr(*keys)
    for name, scanned in (
        ("qr-match", qr), ("qr-longer", qr + b"\0"), ("qr-version", b"\2" + qr[1:]),
    ):
        vector(name, "A scanned code.", "02 §6", "qr-match",
               {"one": keys[0], "other": keys[1], "scanned": scanned})


# 03


def _links(maker) -> None:
    def vector(name, about, op, inputs, rule=None, spec="03-links §3"):
        maker.operation("links", name, about, [spec], op, inputs, rule, rule and "read")

    stream = maker.stream("links", "all")
    secret, fingerprint, root, w = (stream.take(32) for _ in range(4))
    base = {"link_secret": secret, "fingerprint": fingerprint, "root": root}
    for kind, host, port in (
        ("single-use", "relay.example.org", 4433),
        ("reusable", "192.0.2.7", 1),
        ("reset", "2001:db8::7", 65535),
    ):
        described = base | {"kind": kind, "host": host, "port": port}
        vector(f"write-{kind}", f"A link over {host}.", "link-write", described, spec="03-links §1")
        link = links.Link(
            {v: n for n, v in links.KINDS.items()}[kind], secret, fingerprint,
            links.Address(host.encode(), port, root),
        )
        vector(f"read-{kind}", f"A link over {host}.", "link-read", {"text": link.text()})
    # 53 letters: the payload has a multiple of three bytes.
    address = links.Address(b"relay.example.org", 4433, root)
    link = links.Link(1, secret, fingerprint, address)
    text, prefix = link.text(), links.PREFIX
    vector("read-white-space", "White space around it.", "link-read", {"text": f"\r\n {text}\t\n"})

    def remade(**changes) -> str:
        data = link.payload()[:-4]
        for at, value in changes.items():
            data = patched(data, int(at[1:]), bytes([value]))
        return prefix + links.encode64(data + sha256(data)[:4])

    def of_host(host: bytes) -> str:
        return links.Link(1, secret, fingerprint, links.Address(host, 4433, root)).text()

    for rule, name, about, bad in (
        ("R-301", "empty", "No text.", ""),
        ("R-301", "other", "Another address.", "https://example.org/#AQ"),
        ("R-302", "beginning", "A beginning of what stands before every link.", "undertone://i"),
        ("R-302", "no-payload", "Nothing behind the prefix.", prefix),
        ("R-302", "one-letter", "One letter behind it.", prefix + "A"),
        ("R-302", "half", "Half a link.", text[:90]),
        ("R-302", "four-letters-missing", "Four letters are missing.", text[:-4]),
        ("R-304", "version-2", "Version 2, the checksum fits.", remade(_0=2)),
        ("R-304", "version-2-cut", "Version 2, cut.", remade(_0=2)[:100]),
        ("R-303", "letter", "A letter outside base64url.", text[:100] + "+" + text[101:]),
        ("R-303", "padding", "Padding behind it.", text + "="),
        ("R-303", "behind", "Bytes behind the checksum.", text[:-3] + "AAAAAAAA"),
        ("R-303", "checksum", "A letter in the secret is another.", text[:40] + "B" + text[41:]),
        ("R-303", "port-0", "Port 0, the checksum fits.", remade(_84=0, _85=0)),
        ("R-303", "upper-case", "An upper-case host.", of_host(b"Relay.example.org")),
        ("R-303", "ipv4-not-canonical", "An IPv4 address with a zero in front.",
         of_host(b"192.0.2.07")),
        ("R-303", "ipv6-not-canonical", "An IPv6 address that could be shorter.",
         of_host(b"2001:db8:0:0::7")),
        ("R-303", "empty-host", "A host of no letters.", of_host(b"")),
        ("R-303", "over-640", "More than 640 letters.", text + "A" * 600),
        ("R-305", "kind-0", "Kind 0.", remade(_1=0)),
        ("R-305", "kind-4", "Kind 4.", remade(_1=4)),
    ):
        vector(f"{rule.lower()}-{name}", about, "link-read", {"text": bad}, rule)
    route = links.Route(address, w)
    vector("route-write", "A route.", "route-write",
           {"host": "relay.example.org", "port": 4433, "root": root, "write_capability": w},
           spec="03-links §5")
    vector("route-read", "A route.", "route-read", {"route": route.write()}, spec="03-links §5")
    for name, bad in (
        ("empty", b""), ("cut", route.write()[:-1]), ("longer", route.write() + b"\0"),
        ("port-0", patched(route.write(), 18, b"\0\0")),
        ("host", patched(route.write(), 1, b"-")),
    ):
        vector(f"r-306-{name}", "No route.", "route-read", {"route": bad}, "R-306", "03-links §5")


def _bundles(maker) -> None:
    def vector(name, about, spec, op, inputs, rule=None, stage=None):
        maker.operation("bundles", name, about, [spec], op, inputs, rule, stage)

    stream = maker.stream("bundles", "all")
    account, other = _Account(stream, 2), _Account(stream, 1)
    link_secret, device, device_list = stream.take(32), account.devices[1], account.issue()
    draws = [("bundle-id", 16), ("prekey", 32), ("prekey-kem-seed", 64), ("card-nonce", 12)]
    listed = [{"name": name, "value": stream.take(n)} for name, n in draws]
    making = {
        "signing_secret": device.signing_secret, "dh_secret": device.dh_secret,
        "list": device_list.data, "link_secret": link_secret, "kind": "one-time",
        "expiry": EXPIRY, "route": b"a route", "draws": listed,
    }
    vector("make-one-time", "A one-time bundle of the second device.", "03-prekeys §2",
           "bundle-make", making)
    vector("make-last-resort-longest-route", "The longest route.", "03-prekeys §2", "bundle-make",
           making | {"kind": "last-resort", "route": {"repeat": "ee", "count": 320}})
    vector("r-110-route", "A route of 321 bytes.", "01 §6", "bundle-make",
           making | {"route": {"repeat": "ee", "count": 321}, "draws": []}, "R-110", "make")
    vector("r-211-list", "A list without the device.", "02 §4", "bundle-make",
           making | {"list": other.issue().data, "draws": []}, "R-211", "make")

    values = iter([d["value"] for d in listed])
    bundle, private = prekeys.make_bundle(
        device, device_list, prekeys.ONE_TIME, EXPIRY, b"a route", lambda *_: next(values)
    )
    card_key, nonce = prekeys.LinkKeys.of(link_secret).card_key, stream.take(12)

    def sealed(data: bytes) -> bytes:
        return nonce + seal(card_key, nonce, LABEL_CARD_SEAL, data)

    def signed(data: bytes) -> bytes:
        return data[:4004] + sign(device.signing_secret, LABEL_BUNDLE + data[:4004])

    good = {
        "link_secret": link_secret, "sealed": sealed(bundle), "today": TODAY, "record": None,
        "fingerprint": identity.fingerprint(device_list.account),
    }

    def opening(name, about, rule=None, stage="read", spec="03-prekeys §3", **changes):
        vector(name, about, spec, "bundle-open", good | changes, rule, rule and stage)

    opening("open", "A bundle.")
    opening("open-last-day", "On its last day.", today=EXPIRY)
    opening("open-32-days-ahead", "32 days before its expiry.", today=EXPIRY - 32)
    opening("open-newer-than-record", "The list is newer than the one on record.",
            record=account.issue(5).record.write())
    opening("r-350-short", "One byte less.", "R-350", sealed=sealed(bundle)[:-1])
    opening("r-351-altered", "One bit changed.", "R-351", "unseal",
            sealed=patched(sealed(bundle), 2000, b"\0"))
    opening("r-351-other-link", "Under another link's key.", "R-351", "unseal",
            link_secret=stream.take(32))
    opening("r-356", "A day too late.", "R-356", "compare", today=EXPIRY + 1)
    opening("r-358", "33 days before its expiry.", "R-358", "compare", today=EXPIRY - 33)
    opening("r-357", "Another account's link.", "R-357", "compare", fingerprint=stream.take(32))
    opening("r-357-before-r-356", "Another account's link, and too late.", "R-357", "compare",
            fingerprint=stream.take(32), today=EXPIRY + 1)
    opening("r-208", "An older list.", "R-208", "compare",
            record=account.issue(1_700_000_001).record.write())
    opening("r-210", "Another account on record.", "R-210", "compare",
            record=other.issue().record.write())
    length = len(device_list.data)
    for rule, name, about, stage, at, new, sign_again in (
        ("R-352", "kind-0", "Kind 0.", "read", 0, b"\0", True),
        ("R-352", "kind-3", "Kind 3.", "read", 0, b"\3", True),
        ("R-353", "prekey", "An X25519 key that is not canonical.", "read", 22, le(P), True),
        ("R-354", "kem-key", "A coefficient above 3,328.", "read", 54, b"\xff\xff", True),
        ("R-352", "list-length", "A list that goes beyond the bundle.", "read", 1622,
         b"\xff\xff", True),
        ("R-201", "list-shorter", "A list that is one byte shorter.", "read", 1622,
         u16(length - 1), True),
        ("R-207", "list", "An altered list.", "verify", 1624 + 39, b"\xff", True),
        ("R-352", "route-length", "A route of 321 bytes.", "read", 1624 + length, u16(321), True),
        ("R-352", "padding-first", "The first byte of the padding.", "read",
         1626 + length + 7, b"\1", True),
        ("R-352", "padding-last", "The last byte of the padding.", "read", 4003, b"\1", True),
        ("R-352", "index", "A device that is not on the list.", "read", 17, b"\2", True),
        ("R-355", "other-device", "The index of the other device.", "verify", 17, b"\0", True),
        ("R-355", "expiry", "Another expiry, not signed.", "verify", 18, u32(EXPIRY + 1), False),
    ):
        data = patched(bundle, at, new)
        opening(f"{rule.lower()}-{name}", about, rule, stage,
                sealed=sealed(signed(data) if sign_again else data))
    stored = private.write()
    vector("prekey-read", "A stored private prekey.", "10 §2", "prekey-read", {"stored": stored})
    for rule, name, bad in (
        ("R-352", "empty", b""), ("R-352", "stored-kind", patched(stored, 1, b"\3")),
        ("R-352", "stored-short", stored[:-1]), ("R-352", "stored-long", stored + b"\0"),
        ("R-359", "version", b"\2" + stored[1:]), ("R-359", "version-alone", b"\0"),
    ):
        vector(f"{rule.lower()}-{name}", "What can't be read.", "10 §2", "prekey-read",
               {"stored": bad}, rule, "read")


# 08


def _files(maker) -> None:
    def vector(name, about, spec, op, inputs, rule=None, stage=None):
        maker.operation("files", name, about, [spec], op, inputs, rule, stage)

    stream = maker.stream("files", "all")
    key, other = stream.take(32), stream.take(32)
    for n in (0, 1, 1023, 1024, 1025, 65_536, 65_537, 999_999, 2**30 + 1, 2**40 + 12345, 2**47):
        vector(f"padded-{n}", f"{n} bytes.", "08 §2", "padded-length", {"length": n})
    vector("r-801-padded", "A byte too many.", "08 §4", "padded-length", {"length": 2**47 + 1},
           "R-801", "make")

    def content(n: int):
        return {"stream": sha256(b"file %d" % n).hex(), "length": n}

    for n in (0, 1024, 1025, 65_536, 65_537, 150_000):
        vector(f"seal-{n}", f"{n} bytes.", "08 §3", "file-seal",
               {"file_key": key, "length": n, "content": content(n)})
    for said, name in ((99, "longer"), (101, "shorter")):
        vector(f"r-807-{name}", "Another length than was said.", "08 §3", "file-seal",
               {"file_key": key, "length": said, "content": content(100)}, "R-807", "make")

    def opening(name, about, n, edits, rule=None, stage=None, said=None, file_key=None):
        blob = {"file_key": key, "content": content(n), "edits": edits}
        vector(name, about, "08 §3", "file-open",
               {"file_key": file_key or key, "length": n if said is None else said, "blob": blob},
               rule, stage)

    n, size = 150_000, 65_552
    length = attachments.blob_length(n)
    for m in (0, 65_536, 65_537, n):
        opening(f"open-{m}", f"{m} bytes.", m, [])
    opening("r-802-other-key", "Another key.", n, [], "R-802", "unseal", file_key=other)
    opening("r-802-commitment", "A bit of the commitment.", n, [{"xor": "80", "at": 31}], "R-802",
            "unseal")
    opening("r-802-empty", "No byte.", n, [{"cut": 0}], "R-802", "unseal")
    opening("r-801-length", "A length above the bound, the commitment fits.", n, [], "R-801",
            "read", said=2**47 + 1)
    opening("r-802-before-r-801", "A length above the bound under another key.", n, [], "R-802",
            "unseal", said=2**47 + 1, file_key=other)
    opening("r-803-cut", "One byte less.", n, [{"cut": length - 1}], "R-803", "read")
    opening("r-803-commitment-alone", "The commitment alone.", n, [{"cut": 32}], "R-803", "read")
    opening("r-803-chunk-missing", "The last chunk is missing.", n, [{"cut": 32 + 2 * size}],
            "R-803", "read")
    opening("r-803-longer", "One byte more.", n, [{"append": "00"}], "R-803", "read")
    opening("r-804-swapped", "Two chunks are exchanged.", n, [{"swap": [0, 1]}], "R-804", "unseal")
    opening("r-804-bit", "A bit of a chunk.", n, [{"xor": "01", "at": 32 + size + 5}], "R-804",
            "unseal")
    opening("r-804-tag", "A bit of the last tag.", n, [{"xor": "01", "at": length - 1}], "R-804",
            "unseal")
    opening("r-804-fewer-chunks", "A length of one chunk less: the blob is cut to it, and its "
            "last chunk was none.", n, [{"cut": attachments.blob_length(131_072)}], "R-804",
            "unseal", said=131_072)
    opening("r-805-shorter", "A length of one byte less, the padding has content.", n, [],
            "R-805", "read", said=n - 1)
    blob = attachments.seal_file(key, b"chunk" * 30_000)
    chunk = blob[32 + 2 * size :]
    base = {"file_key": key, "length": 150_000, "commitment": blob[:32], "index": 2, "chunk": chunk}
    vector("chunk-last", "The last chunk alone.", "08 §3", "chunk-open", base)
    for rule, name, changes, stage in (
        ("R-806", "chunk-3", {"index": 3}, "read"),
        ("R-803", "chunk-cut", {"chunk": chunk[:-1]}, "read"),
        ("R-803", "chunk-0", {"index": 0}, "read"),
        ("R-804", "chunk-bit", {"chunk": patched(chunk, 0, bytes([chunk[0] ^ 1]))}, "unseal"),
    ):
        vector(f"{rule.lower()}-{name}", "What is no such chunk.", "08 §4", "chunk-open",
               base | changes, rule, stage)


# 09


def _content(maker) -> None:
    def vector(name, about, op, inputs, rule=None, stage="read"):
        maker.operation("content", name, about, ["09"], op, inputs, rule, rule and stage)

    stream = maker.stream("content", "all")
    id_, target = stream.take(16), stream.take(16)
    parts = ("blob_id", "read_capability", "file_key", "commitment", "sha256")
    attachment = {name: stream.take(32) for name in parts} | {
        "size": 2**40 + 1, "relay": stream.take(52), "name": "Übersicht.pdf",
        "media_type": "application/pdf", "caption": "",
    }
    kinds = {
        1: {"text": "ein Text, ein längerer: 😀"},
        2: attachment,
        3: {"ids": [stream.take(16) for _ in range(3)]},
        4: {"ids": [target]},
        5: {"target": target, "removed": False, "text": "👍"},
        6: {"target": target, "text": ""},
        7: {"target": target},
        8: {"active": True},
        9: {"name": "Ann"},
        10: {"seconds": 604_800},
        11: {"route": stream.take(320)},
        12: {"list": stream.take(235)},
        13: {"name": "org.example.game", "data": stream.take(7)},
        14: {"link": stream.take(122)},
        15: {"cause": 4, "sessions": [stream.take(32) for _ in range(2)]},
        16: {"payload": stream.take(5)},
        2**32 - 1: {"payload": ""},
    }
    for kind, fields in kinds.items():
        inputs = {"kind": kind, "id": id_, "sent_at": 2**64 - 1 if kind == 1 else 1_700_000_000_123,
                  "fields": fields}
        out = maker.operation("content", f"write-{kind}", f"Kind {kind}.", ["09 §2"],
                              "content-write", inputs)
        vector(f"read-{kind}", f"Kind {kind}.", "content-read", {"content": out["content"]})
    for name, kind, fields in (
        ("text", 1, {"text": {"repeat": "61", "count": 49_153}}),
        ("ids", 3, {"ids": [target] * 257}),
        ("reaction", 5, {"target": target, "removed": False, "text": {"repeat": "61", "count": 65}}),
        ("name", 9, {"name": {"repeat": "61", "count": 129}}),
        ("route", 11, {"route": "61" * 321}),
    ):
        vector(f"r-904-write-{name}", "A part above its bound.", "content-write",
               {"kind": kind, "id": id_, "sent_at": 0, "fields": fields}, "R-904", "make")
    rest = id_ + u64(1)
    for rule, name, data in (
        ("R-901", "empty", b""),
        ("R-901", "frame", b"\x01" + rest[:-1]),
        ("R-901", "text", b"\x01" + rest + b"\x03ab"),
        ("R-901", "half-an-id", b"\x03" + rest + bytes(24)),
        ("R-901", "varint", b"\x01" + rest + b"\x80"),
        ("R-902", "text", b"\x01" + rest + b"\x02abc"),
        ("R-902", "typing", b"\x08" + rest + b"\x01\x00"),
        ("R-903", "kind", b"\x81\x00" + rest + b"\x00"),
        ("R-903", "length", b"\x01" + rest + b"\x82\x80\x00ab"),
        ("R-903", "33-bits", b"\x01" + rest + b"\xff\xff\xff\xff\x1f"),
        ("R-904", "length", b"\x01" + rest + b"\x81\x80\x03"),
        ("R-904", "reaction", b"\x05" + rest + target + b"\x00\x41" + b"a" * 65),
        ("R-904", "ids", b"\x04" + rest + bytes(257 * 16)),
        ("R-905", "text", b"\x01" + rest + b"\x02\xc3\x28"),
        ("R-905", "surrogate", b"\x09" + rest + b"\x03\xed\xa0\x80"),
        ("R-905", "overlong", b"\x09" + rest + b"\x02\xc0\x80"),
        ("R-906", "removed", b"\x05" + rest + target + b"\x02\x01a"),
        ("R-906", "typing", b"\x08" + rest + b"\xff"),
    ):
        vector(f"{rule.lower()}-{name}", "What breaks the layout of its kind.", "content-read",
               {"content": data}, rule)


# 14


def _backups(maker) -> None:
    def vector(name, about, op, inputs, rule=None, stage="read"):
        return maker.operation(
            "backup", name, about, ["14"], op, inputs, rule, stage if rule else None
        )

    stream = maker.stream("backup", "all")
    secret, salt = stream.take(32), stream.take(32)
    text = vector("key", "A recovery key.", "recovery-key-write", {"secret": secret})["text"]
    spoken = text.replace("-", " ").lower()
    vector("key-read", "In small letters, with spaces.", "recovery-key-read", {"text": spoken})
    for at in (0, 18, 20, 38, 40, 78):
        letter = "Q" if text[at] != "Q" else "R"
        vector(f"r-1402-at-{at}", "One character is another.", "recovery-key-read",
               {"text": text[:at] + letter + text[at + 1 :]}, "R-1402")

    def record(kind: int, body: bytes) -> bytes:
        return u8(kind) + u32(len(body)) + body

    def word(data: bytes) -> bytes:
        return u8(len(data)) + data

    account = (
        stream.take(32) + b"\2" + word(stream.take(99)) + word("Zoë".encode())
        + word(stream.take(60)) + stream.take(32) + b"".join(map(u64, (9, 8, 7, 2**63)))
    )
    contact = (
        u64(1) + stream.take(32) + b"\1\0\0" + word(b"Yan") + word(b"") + word(b"")
        + word(stream.take(120)) + u64(3) + u32(0) + u64(0)
    )

    def message(n: int, text: bytes) -> bytes:
        return (
            u64(n) + u64(1) + stream.take(16) + u64(n) + b"\0\6\1" + text + u64(0) + u32(0)
            + u64(0) + b"\0" + u64(n) + word("é".encode())
        )

    records = [record(1, account), record(3, contact)]
    records += [record(8, message(n, word(b"short"))) for n in range(4)]
    end = record(255, u64(len(records)))

    def file(records, edits=(), version=1) -> dict:
        return {
            "secret": secret,
            "file": {"secret": secret, "salt": salt, "version": version, "records": records,
                     "edits": list(edits)},
        }

    whole = b"".join(records) + end
    vector("whole", "An account, a contact, messages.", "backup-read", file(whole))
    long = {"repeat": "6d", "count": 49_152}
    front, back = record(8, message(9, b"\x80\x80\x03" + b"m" * 49_152)).split(b"m" * 49_152)
    parts = [b"".join(records[:2]), *[front, long, back] * 4, end]
    vector("long", "Messages over the borders of chunks.", "backup-read", file({"concat": parts}))
    length = len(backup.write_file(secret, salt, 1, whole))
    for rule, name, edits, stage in (
        ("R-1403", "cut-in-the-magic", [{"cut": 5}], "read"),
        ("R-1404", "commitment", [{"xor": "01", "at": 73}], "read"),
        ("R-1407", "cut-by-a-chunk", [{"cut": length - backup.SEALED}], "read"),
        ("R-1407", "cut-in-the-head", [{"cut": 81}], "read"),
        ("R-1408", "last-byte", [{"xor": "80", "at": length - 1}], "unseal"),
        ("R-1409", "behind", [{"append": bytes(backup.SEALED)}], "read"),
    ):
        vector(f"{rule.lower()}-{name}", "A file that was changed.", "backup-read",
               file(whole, edits), rule, stage)
    for name, data in (
        ("no-end", b"".join(records)),
        ("count", b"".join(records) + record(255, u64(1))),
        ("types", records[1] + records[0] + record(255, u64(2))),
        ("account-cut", record(1, account[:-1]) + record(255, u64(1))),
        ("name", records[0] + record(3, contact.replace(b"Yan", b"Y\xff\xfe")) + end),
        ("behind-the-end", whole + b"\1"),
    ):
        vector(f"r-1410-{name}", "Records that break the layout.", "backup-read", file(data),
               "R-1410")
    vector("write", "Two chunks, the first of which says that another follows.", "backup-write",
           {"secret": secret, "salt": salt, "records": {"concat": parts[:7] + [end]}})
    _restored(vector, stream, file, record)


def _restored(vector, stream, file, record) -> None:
    own, theirs = stream.take(32), stream.take(32)
    device = identity.Device(stream.take(32), stream.take(32))

    def word(data: bytes) -> bytes:
        return write_string(data, 2_048)

    address = word(links.Address(b"192.0.2.7", 4433, stream.take(32)).write())
    token = stream.take(32)

    def account(secret: bytes, of: int) -> bytes:
        devices = identity.issue_list(secret, [device.keys], 1_700_000_000, None)
        return record(1, own + u8(of) + word(devices.data) + word(b"Ann") + address + token
                      + b"".join(map(u64, (3, 4, 1, 1_700_000_000_123))))

    def contact(number: int, name: bytes) -> bytes:
        return record(3, u64(number) + identity.sign_public(theirs) + b"\0\0\0" + word(name)
                      + bytes(3) + u64(0) + u32(0) + u64(0))

    def pending(place: int, sent: int, text: bytes) -> bytes:
        made = Content(1, bytes(15) + u8(place), 1, {"text": text.decode()}).write()
        return record(7, u64(2) + u64(place) + u64(0) + u8(sent) + u32(19_675) + word(made))

    front = [account(own, 0), contact(2, b"Yan")]
    for name, about, records in (
        ("restore", "Two contents are pending.",
         [*front, pending(1, 0, b"a"), pending(2, 1, b"b")]),
        ("restore-once", "One content is pending, in two records.",
         [*front, pending(1, 0, b"a"), pending(1, 1, b"a")]),
        ("r-1411-none", "No record at all.", []),
        ("r-1411-list", "Another account's device list.", [account(theirs, 0)]),
        ("r-1411-device", "No such device.", [account(own, 1)]),
        ("r-1411-number", "A contact's number is the next one.", [front[0], contact(3, b"Yan")]),
        ("r-1411-contact-twice", "One account twice.", [front[0], contact(1, b"Yan"), front[1]]),
        ("r-1411-name", "A name of which nothing is shown.",
         [front[0], contact(2, b" \xe2\x80\xae")]),
        ("r-1411-stranger", "Something pending for nobody.", [front[0], pending(1, 0, b"a")]),
    ):
        data = b"".join(records) + record(255, u64(len(records)))
        rule = "R-1411" if name.startswith("r-") else None
        vector(name, about, "backup-restore", file(data) | {"now": 1_700_000_100_000}, rule,
               "compare")
