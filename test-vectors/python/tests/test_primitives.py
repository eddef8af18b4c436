import unittest

from .common import refused, stream

from undertone_ref import constants
from undertone_ref import primitives as p


class Labels(unittest.TestCase):
    def test_all_distinct_and_none_begins_another_use(self):
        self.assertEqual(len(p.LABELS), 31)
        self.assertEqual(len(set(p.LABELS.values())), 31)

    def test_sizes_that_follow(self):
        self.assertEqual(
            (constants.BUNDLE, constants.MAX_LIST, constants.OVERHEAD, constants.SEALED_HEADER),
            (4068, 2035, 97, 69),
        )
        self.assertEqual(constants.SEALED_HANDSHAKE_SHORT, 2428)
        self.assertEqual(constants.SEALED_HANDSHAKE_LONG, 4060)
        self.assertEqual(constants.MAX_CONTENT, 65536 - 4060 - 97 - 2 - 128)


class KeyDerivation(unittest.TestCase):
    def test_rfc_5869_case_1(self):
        prk = p.extract(bytes(range(13)), b"\x0b" * 22)
        okm = p.expand(prk, bytes(range(0xF0, 0xFA)), 42)
        self.assertEqual(
            okm.hex(),
            "3cb25f25faacd57a90434f64d0362f2a2d2d0a90cf1a5a4c5db02d56ecc4c5bf34007208d5b887185865",
        )


class X25519(unittest.TestCase):
    def test_r_101_only_canonical(self):
        prime = 2**255 - 19
        p.check_dh_public((prime - 1).to_bytes(32, "little"))
        for number in (prime, prime + 1, 2**255 - 1, 2**255 + 9, 2**256 - 1):
            with refused(self, "R-101"):
                p.check_dh_public(number.to_bytes(32, "little"))

    def test_r_102_low_order(self):
        for public in (bytes(32), (1).to_bytes(32, "little"), (2**255 - 20).to_bytes(32, "little")):
            p.check_dh_public(public)
            with refused(self, "R-102"):
                p.dh(b"\x07" * 32, public)


class Ed25519(unittest.TestCase):
    def setUp(self):
        self.seed = b"\x05" * 32
        self.public = p.sign_public(self.seed)

    def test_r_104_small_order_and_non_canonical(self):
        p.check_sign_public(self.public)
        prime = 2**255 - 19
        weak = [
            1,  # order 1
            prime - 1,  # order 2
            0,  # order 4
            2**255,  # order 4, the other sign
            1 + 2**255,  # x = 0 with a sign
            prime + 1,  # y is not reduced
            2,  # no point
        ]
        for number in weak:
            with refused(self, "R-104"):
                p.check_sign_public(number.to_bytes(32, "little"))
        # Order 8, from RFC 8032's curve.
        order8 = "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a"
        with refused(self, "R-104"):
            p.check_sign_public(bytes.fromhex(order8))

    def test_r_105(self):
        signature = p.sign(self.seed, b"m")
        p.verify(self.public, b"m", signature)
        s = int.from_bytes(signature[32:], "little")
        order = 2**252 + 27742317777372353535851937790883648493
        for message, bad in (
            (b"n", signature),
            (b"m", signature[:32] + (s + order).to_bytes(32, "little")),
            (b"m", (1).to_bytes(32, "little") + signature[32:]),
            (b"m", signature[:-1]),
        ):
            with refused(self, "R-105"):
                p.verify(self.public, message, bad)


class MlKem(unittest.TestCase):
    def test_round_trip_and_implicit_rejection(self):
        draw = stream("kem")
        for kem in (p.MLKEM768, p.MLKEM1024):
            seed = draw.take(64)
            ek = kem.key(seed)
            kem.check_key(ek)
            secret, ciphertext = kem.encapsulate(ek, draw.take(32))
            self.assertEqual((len(ek), len(ciphertext)), (kem.key_len, kem.ciphertext_len))
            self.assertEqual(kem.decapsulate(seed, ciphertext), secret)
            other = bytes([ciphertext[0] ^ 1]) + ciphertext[1:]
            self.assertNotEqual(kem.decapsulate(seed, other), secret)

    def test_r_103_first_and_last_coefficient(self):
        for kem in (p.MLKEM768, p.MLKEM1024):
            ek = bytearray(kem.key(bytes(64)))
            for at, value in ((0, b"\x01\x0d"), (kem.key_len - 32 - 2, b"\x10\xd0")):
                bad = bytearray(ek)
                bad[at : at + 2] = value  # 3,329
                with refused(self, "R-103"):
                    kem.check_key(bytes(bad))

    def test_another_library_agrees(self):
        try:
            from cryptography.hazmat.primitives.asymmetric import mlkem

            pairs = [
                (mlkem.MLKEM768PrivateKey, p.MLKEM768),
                (mlkem.MLKEM1024PrivateKey, p.MLKEM1024),
            ]
            seed = stream("cross").take(64)
            keys = [(cls.from_seed_bytes(seed), kem) for cls, kem in pairs]
        except Exception as error:  # not in every build of the library
            self.skipTest(f"cryptography has no ML-KEM here: {error}")
        for key, kem in keys:
            self.assertEqual(key.public_key().public_bytes_raw(), kem.key(seed))
            secret, ciphertext = kem.encapsulate(kem.key(seed), bytes(32))
            self.assertEqual(key.decapsulate(ciphertext), secret)


if __name__ == "__main__":
    unittest.main()
