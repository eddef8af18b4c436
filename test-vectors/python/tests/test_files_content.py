import unittest

from .common import refused

from undertone_ref import attachments as a
from undertone_ref.content import Content, read_varint, write_varint
from undertone_ref.layout import Reader
from undertone_ref.primitives import seal

KEY = b"\x01" * 32


class Files(unittest.TestCase):
    def test_table_of_lengths(self):
        for n, padded, blob in (
            (0, 1024, 1072),
            (1024, 1024, 1072),
            (1025, 1088, 1136),
            (65537, 67584, 67648),
            (70000, 71680, 71744),
            (1048576, 1048576, 1048864),
            (1048577, 1081344, 1081648),
            (2**47, 2**47, 140771848093728),
        ):
            self.assertEqual((a.padded_length(n), a.blob_length(n)), (padded, blob))
        with refused(self, "R-801"):
            a.padded_length(2**47 + 1)

    def test_commitment(self):
        expected = "2d91810d84655214a59ae11c9fde155edca87008a2b875d181c8d5a403361c89"
        self.assertEqual(a.commitment(KEY).hex(), expected)

    def test_round_trips(self):
        for n in (0, 1, 1023, 1024, 1025, 65535, 65536, 65537, 131072, 200_000):
            content = bytes(i % 251 for i in range(n))
            blob = a.seal_file(KEY, content)
            self.assertEqual(len(blob), a.blob_length(n))
            self.assertEqual(a.open_file(KEY, blob, n), content)

    def test_refusals(self):
        content = b"c" * 140_000
        n, blob = len(content), a.seal_file(KEY, content)
        size = 65_552
        chunks = [blob[32 + i * size : 32 + (i + 1) * size] for i in range(3)]
        swapped = blob[:32] + chunks[1] + chunks[0] + chunks[2]
        flipped = bytearray(blob)
        flipped[100] ^= 1
        for rule, bad, length in (
            ("R-802", b"\0" + blob[1:], n),
            ("R-802", b"", n),
            ("R-801", blob, 2**47 + 1),
            ("R-803", blob[:-1], n),
            ("R-803", blob + b"\0", n),
            ("R-803", blob[: 32 + size], n),
            ("R-804", swapped, n),
            ("R-804", bytes(flipped), n),
            ("R-805", blob, n - 1),
        ):
            with self.subTest(rule=rule), refused(self, rule):
                a.open_file(KEY, bad, length)
        opener = a.FileOpener.begin(KEY, blob[:32], n)
        self.assertEqual(opener.open_chunk(1, chunks[1]), content[65536:131072])
        with refused(self, "R-806"):
            opener.open_chunk(3, chunks[2])
        for said in (n - 1, n + 1):
            with refused(self, "R-807"):
                a.seal_file(KEY, content, said)

    def test_chunk_of_padding_alone(self):
        n = 2**21 + 1
        self.assertGreater(a.chunk_count(n) * 65536 - n, 65536 // 2)
        blob = a.seal_file(KEY, bytes(n))
        self.assertEqual(a.open_file(KEY, blob, n), bytes(n))

    def test_a_chunk_that_is_not_the_last(self):
        # A blob that was cut at the end of a chunk, its length being right.
        n = 65536
        plain = seal(a.stream_key(KEY), a.nonce(0, False), b"", bytes(n))
        with refused(self, "R-804"):
            a.open_file(KEY, a.commitment(KEY) + plain, n)


class Contents(unittest.TestCase):
    def test_example(self):
        content = Content(1, b"\7" * 16, 1700000000123, {"text": "hi"})
        data = bytes.fromhex("01" + "07" * 16 + "0000018bcfe5687b" + "026869")
        self.assertEqual(content.write(), data)
        self.assertEqual(Content.read(data), content)

    def test_round_trips(self):
        target, ids = b"\x05" * 16, [bytes([i]) * 16 for i in range(3)]
        attachment = {
            name: name.encode().ljust(32)[:32]
            for name in ("blob_id", "read_capability", "file_key", "commitment", "sha256")
        } | {"size": 2**40, "relay": b"r" * 40, "name": "n", "media_type": "", "caption": "ç"}
        for kind, fields in (
            (2, attachment),
            (3, {"ids": ids}),
            (4, {"ids": []}),
            (5, {"target": target, "removed": True, "text": "!"}),
            (6, {"target": target, "text": "new"}),
            (7, {"target": target}),
            (8, {"active": False}),
            (9, {"name": "Ann"}),
            (10, {"seconds": 2**32 - 1}),
            (11, {"route": bytes(320)}),
            (12, {"list": bytes(235)}),
            (13, {"name": "org.example", "data": b"\0\1"}),
            (4_000_000_000, {"payload": b"later"}),
        ):
            content = Content(kind, b"\7" * 16, 1, fields)
            self.assertEqual(Content.read(content.write()), content)

    def test_refusals(self):
        head = lambda kind: write_varint(kind) + b"\7" * 16 + bytes(8)  # noqa: E731
        for rule, data in (
            ("R-901", b""),
            ("R-901", head(1)[:-1]),
            ("R-901", head(1) + b"\x03ab"),
            ("R-902", head(1) + b"\x01ab"),
            ("R-903", b"\x81\x00" + head(1)[1:] + b"\0"),
            ("R-903", b"\xff\xff\xff\xff\x10" + head(1)[1:]),
            ("R-904", head(5) + bytes(16) + b"\0" + b"\x41" + b"a" * 65),
            ("R-904", head(3) + bytes(16 * 257)),
            ("R-901", head(3) + bytes(17)),
            ("R-904", head(1) + write_varint(49153)),
            ("R-905", head(1) + b"\x01\xff"),
            ("R-906", head(8) + b"\x02"),
            ("R-902", head(8) + b"\x01\x00"),
        ):
            with self.subTest(data=data[:40]), refused(self, rule):
                Content.read(data)

    def test_varints(self):
        for n in (0, 127, 128, 16383, 16384, 2**32 - 1):
            reader = Reader(write_varint(n), "R-901")
            self.assertEqual(read_varint(reader), n)
            self.assertEqual(reader.left, 0)


if __name__ == "__main__":
    unittest.main()
