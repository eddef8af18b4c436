"""A client of a relay, over the test transport of chapter 11."""

import socket

from . import wire
from .draws import Stream
from .layout import u64
from .primitives import sha256, sign_public

EXPORTER = b"undertone/1 test transport only!"
CONTROL, BLOB = b"\x01", b"\x02"
SECONDS = 30


class Unexpected(Exception):
    """The relay does not do what the text says."""


def expect(condition: bool, text: str) -> None:
    if not condition:
        raise Unexpected(text)


class RelayError(Exception):
    """An error code that the relay answered."""

    def __init__(self, code: int):
        super().__init__(f"error {code}")
        self.code = code


class Closed(Exception):
    """The relay finished its side, or closed the connection."""


class Socket:
    """One stream: bytes and messages."""

    def __init__(self, address: tuple[str, int], kind: bytes):
        self._socket = socket.create_connection(address, SECONDS)
        self._buffer = b""
        self.sent = self.received = 0
        self.send(kind)

    def send(self, data: bytes) -> None:
        try:
            self._socket.sendall(data)
        except OSError as error:
            raise Closed(str(error)) from error
        self.sent += len(data)

    def take(self, n: int) -> bytes:
        while len(self._buffer) < n:
            try:
                more = self._socket.recv(65_536)
            except ConnectionError as error:
                raise Closed(str(error)) from error
            if not more:
                raise Closed("the end")
            self._buffer += more
            self.received += len(more)
        out, self._buffer = self._buffer[:n], self._buffer[n:]
        return out

    def message(self, stream: str) -> bytes:
        length = int.from_bytes(self.take(4), "big")
        wire.check_length(length, stream)
        return self.take(length)

    def finish(self) -> None:
        self._socket.shutdown(socket.SHUT_WR)

    def at_end(self) -> bool:
        """Whether the relay has closed, and sent nothing before."""
        try:
            self.take(1)
        except Closed:
            return True
        return False

    def close(self) -> None:
        self._socket.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()


class Control(Socket):
    """A control stream: requests, replies, pushes."""

    def __init__(self, address):
        super().__init__(address, CONTROL)
        self._id = 0
        self._pushes: list[dict] = []
        self.padded = 0

    def next_id(self) -> int:
        self._id += 1
        return self._id

    def _frame(self) -> dict:
        frame = wire.read_frame(wire.SERVER_FRAME, self.message("control"))
        if frame["is"] == "padding":
            self.padded += 1
        return frame

    def send_frame(self, id_: int, request: dict) -> None:
        frame = wire.write_frame(wire.CLIENT_FRAME, {"id": id_, "request": request})
        self.send(wire.write_message(frame))

    def reply(self, id_: int) -> dict:
        """The response; pushes that come before it are kept."""
        while True:
            frame = self._frame()
            if frame["is"] == "push":
                self._pushes.append(frame["push"])
            elif frame["is"] == "reply":
                expect(frame["id"] == id_, f"a reply to {frame['id']}, {id_} was asked")
                if frame["outcome"]["is"] == "error":
                    raise RelayError(frame["outcome"]["code"])
                return frame["outcome"]["response"]

    def push(self) -> dict:
        while not self._pushes:
            frame = self._frame()
            expect(frame["is"] != "reply", "a reply that nobody waits for")
            if frame["is"] == "push":
                self._pushes.append(frame["push"])
        return self._pushes.pop(0)

    def ask(self, **request) -> dict:
        id_ = self.next_id()
        self.send_frame(id_, request)
        return self.reply(id_)

    def own(self, secrets: list[bytes], **operation) -> dict:
        """An owner request, signed with these keys."""
        id_ = self.next_id()
        self.send_frame(id_, wire.owner_request(EXPORTER, id_, operation, secrets))
        return self.reply(id_)

    def deliver(self, capability: bytes, envelope: bytes) -> None:
        done(self.ask(**{"is": "deliver", "write_capability": capability, "envelope": envelope}))

    def acknowledge(self, mailbox: bytes, incarnation: bytes, floor: int) -> None:
        self.acknowledge_all([(mailbox, incarnation, floor)])

    def acknowledge_all(self, floors: list[tuple[bytes, bytes, int]]) -> None:
        floors = [{"mailbox": m, "incarnation": i, "floor": f} for m, i, f in floors]
        done(self.ask(**{"is": "acknowledge", "floors": floors}))


def done(response: dict) -> None:
    expect(response == {"is": "done"}, f"not done: {response}")


def refuses(code: int, function, *arguments, **named) -> None:
    """The relay answers this error."""
    try:
        answer = function(*arguments, **named)
    except RelayError as error:
        expect(error.code == code, f"error {code} was expected: {error}")
    else:
        raise Unexpected(f"error {code} was expected: {answer}")


class Mailbox:
    """A mailbox's owner."""

    def __init__(self, draw: Stream):
        self.secret, self.capability = draw.take(32), draw.take(32)
        self.read_key = sign_public(self.secret)
        self.id = wire.mailbox_id(self.read_key)

    @property
    def hashes(self) -> list[bytes]:
        return [wire.write_capability_hash(self.capability)]

    def create(self, control: Control, token: bytes, limits=None) -> dict:
        response = control.own(
            [self.secret], **{"is": "create-mailbox"}, read_key=self.read_key, token=token,
            kind="queue", limits=limits, hashes=self.hashes,
        )
        (state,) = response["states"]
        return state

    def subscribe(self, control: Control, credit: int = 64) -> dict | None:
        response = control.own(
            [self.secret], **{"is": "subscribe"}, read_keys=[self.read_key], credit=credit
        )
        (state,) = response["states"]
        return state

    def status(self, control: Control) -> dict | None:
        response = control.own([self.secret], **{"is": "status"}, read_keys=[self.read_key])
        return response["states"][0]

    def delete(self, control: Control) -> None:
        done(control.own([self.secret], **{"is": "delete-mailbox"}, read_key=self.read_key))


class Relay:
    """Where it is, and a token for it."""

    def __init__(self, address: tuple[str, int], token: bytes, seed: int, name: str):
        self.address, self.token = address, token
        self.draw = Stream(sha256(b"Undertone relay" + u64(seed) + name.encode()))

    def control(self) -> Control:
        return Control(self.address)

    def blob(self) -> Socket:
        return Socket(self.address, BLOB)

    def junk(self, n: int) -> bytes:
        return (self.draw.take(32) * (n // 32 + 1))[:n]
