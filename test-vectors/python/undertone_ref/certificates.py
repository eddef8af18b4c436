"""11 Transport: the certificates that a relay shows."""

from datetime import UTC, datetime

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from .refused import Refused, need
from .wire import root_fingerprint

LEAF_NAME = "relay.undertone.invalid"
_ED25519 = x509.ObjectIdentifier("1.3.101.112")


def check(pin: bytes, chain: list[bytes], unix_seconds: int) -> None:
    """R-1120 to R-1123."""
    need(len(chain) in (2, 4, 6, 8), "R-1120", f"{len(chain)} certificates")
    # Leaf, root in use, then pairs: a handover, and the root that made it.
    roots = [_read(der, "R-1121") for der in chain[1::2]]
    at = next((n for n, root in enumerate(roots) if _is(root, pin)), None)
    need(at is not None, "R-1121", "another root")
    now = datetime.fromtimestamp(unix_seconds, UTC)
    issuer = roots[at]
    for der in reversed(chain[2 : 2 * at + 1 : 2]):
        handover = _read(der, "R-1122")
        _signed(handover, issuer)
        need(_is_authority(handover), "R-1122", "a handover to what is no root")
        _valid(handover, now)
        issuer = handover
    leaf = _read(chain[0], "R-1122")
    _signed(leaf, issuer)
    _valid(leaf, now)
    need(_names(leaf) == [LEAF_NAME], "R-1123", "another name")


def _is(root: x509.Certificate, pin: bytes) -> bool:
    key = root.public_key()
    return isinstance(key, Ed25519PublicKey) and root_fingerprint(key.public_bytes_raw()) == pin


def _signed(certificate: x509.Certificate, issuer: x509.Certificate) -> None:
    by = certificate.issuer.public_bytes() == issuer.subject.public_bytes()
    need(by, "R-1122", "another issuer")
    need(certificate.signature_algorithm_oid == _ED25519, "R-1122", "another algorithm")
    key = issuer.public_key()
    need(isinstance(key, Ed25519PublicKey), "R-1122", "a key of another kind")
    try:
        key.verify(certificate.signature, certificate.tbs_certificate_bytes)
    except InvalidSignature as error:
        raise Refused("R-1122", "a signature does not verify") from error


def _valid(certificate: x509.Certificate, now: datetime) -> None:
    begins, ends = certificate.not_valid_before_utc, certificate.not_valid_after_utc
    need(begins <= now <= ends, "R-1123", "not valid now")


def _is_authority(certificate: x509.Certificate) -> bool:
    try:
        return certificate.extensions.get_extension_for_class(x509.BasicConstraints).value.ca
    except x509.ExtensionNotFound:
        return False


def _read(der: bytes, rule: str) -> x509.Certificate:
    try:
        return x509.load_der_x509_certificate(der)
    except ValueError as error:
        raise Refused(rule, "no certificate") from error


def _names(leaf: x509.Certificate) -> list[str]:
    try:
        names = leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return []
    return names.get_values_for_type(x509.DNSName)
