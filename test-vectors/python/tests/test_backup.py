import unittest

from .common import refused

from undertone_ref import backup, restore
from undertone_ref.layout import u8, u32

SECRET = b"\7" * 32


def record(kind: int, body: bytes) -> bytes:
    return u8(kind) + u32(len(body)) + body


class Keys(unittest.TestCase):
    def test_the_example_of_the_text_and_what_is_read_alike(self):
        text = "\n".join([
            "0W3G-E1R7-0W3G-E50N", "0W3G-E1R7-0W3G-EQWG", "0W3G-E1R7-0W3G-F9FM",
            "0W3G-E1R7-0W3G-ED7A",
        ])
        self.assertEqual(backup.write_key(SECRET), text.replace("\n", "-"))
        for other in (text, text.lower(), text.replace("0", "o"), text.replace("1", "l")):
            self.assertEqual(backup.read_key(other), SECRET)

    def test_every_secret_comes_back_and_every_error_is_found(self):
        secret = bytes(range(100, 132))
        text = backup.write_key(secret)
        self.assertEqual(backup.read_key(text), secret)
        for at, letter in enumerate(text):
            if letter == "-":
                continue
            other = "Z" if letter != "Z" else "Y"
            with refused(self, "R-1402"):
                backup.read_key(text[:at] + other + text[at + 1 :])
            with refused(self, "R-1401"):
                backup.read_key(text[:at] + text[at + 1 :])


class Files(unittest.TestCase):
    def test_every_cut_and_every_altered_byte(self):
        records = record(255, bytes(8))
        data = backup.write_file(SECRET, bytes(32), 1, records)
        self.assertEqual(backup.read_file(SECRET, data)["records"], 0)
        for end in list(range(0, 90)) + [len(data) - 1]:
            with refused(self, "R-1403" if end < 8 else "R-1407"):
                backup.read_file(SECRET, data[:end])
        for at in list(range(90)) + [len(data) - 1]:
            altered = bytearray(data)
            altered[at] ^= 1
            rule = "R-1403" if at < 8 else "R-1404" if at < 82 else "R-1408"
            with refused(self, rule):
                backup.read_file(SECRET, bytes(altered))
        with refused(self, "R-1409"):
            backup.read_file(SECRET, data + b"\0")
        with refused(self, "R-1406"):
            backup.read_file(bytes(32), data)


class Restoring(unittest.TestCase):
    def test_what_is_a_name(self):
        for name in ("Ada", " Ada ", "a b", "é" * 64, "1", "#"):
            restore._check_name(name)
        for name in ("", " \t\u3000", "a\0", "a\nb", "\u202ea", "a\u2069", "é" * 65):
            with refused(self, "R-1411"):
                restore._check_name(name)

    def test_a_file_without_records_has_no_account(self):
        data = backup.write_file(SECRET, bytes(32), 1, record(255, bytes(8)))
        with refused(self, "R-1411"):
            restore.restore(SECRET, data, 0)
        with refused(self, "R-1406"):
            restore.restore(bytes(32), data, 0)


if __name__ == "__main__":
    unittest.main()
