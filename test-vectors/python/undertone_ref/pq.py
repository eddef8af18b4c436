"""06 The post-quantum ratchet."""

from dataclasses import dataclass, replace

from .constants import MAX_U32, PIECE_BLOCK
from .layout import u8, u32
from .primitives import (
    LABEL_EPOCH_TAG,
    LABEL_KEM_CIPHERTEXT_HASH,
    LABEL_KEM_KEY_HASH,
    MLKEM768,
    hash8,
    hash_,
)
from .refused import need, reported_as

KEY, CIPHERTEXT = 1, 2
BLOCKS = {KEY: 37, CIPHERTEXT: 34}
RUN_HEAD = 15


def h_ek(ek: bytes) -> bytes:
    return hash_(LABEL_KEM_KEY_HASH, ek)


def h_ct(hash_of_key: bytes, ct: bytes) -> bytes:
    return hash_(LABEL_KEM_CIPHERTEXT_HASH, hash_of_key, ct)


def first_tag(session_id: bytes) -> bytes:
    return hash8(LABEL_EPOCH_TAG, u32(0), session_id)


def epoch_tag(epoch: int, hash_of_key: bytes, hash_of_ct: bytes) -> bytes:
    return hash8(LABEL_EPOCH_TAG, u32(epoch), hash_of_key, hash_of_ct)


# Section 4: runs.


@dataclass(frozen=True)
class Run:
    kind: int
    epoch: int
    first: int
    tag: bytes
    blocks: tuple[bytes, ...]

    @property
    def count(self) -> int:
        return len(self.blocks)

    def write(self) -> bytes:
        head = u8(self.kind) + u32(self.epoch) + u8(self.first) + u8(self.count) + self.tag
        return head + b"".join(self.blocks)

    def placed(self):
        """Each block with its index."""
        total = BLOCKS[self.kind]
        return (((self.first + i) % total, block) for i, block in enumerate(self.blocks))


def read_run(behind: bytes) -> tuple[Run | None, int]:
    """The run behind a content, and its length (07 section 2)."""
    if not behind or behind[0] == 0:
        return None, 0
    kind = behind[0]
    need(kind in BLOCKS, "R-601", f"kind {kind}")
    need(len(behind) >= RUN_HEAD, "R-601", "the run goes beyond the body")
    epoch, first, count = int.from_bytes(behind[1:5], "big"), behind[5], behind[6]
    need(first < BLOCKS[kind], "R-601", "first is no index")
    need(1 <= count <= BLOCKS[kind], "R-601", f"count {count}")
    length = RUN_HEAD + PIECE_BLOCK * count
    need(len(behind) >= length, "R-601", "the run goes beyond the body")
    blocks = tuple(behind[i : i + PIECE_BLOCK] for i in range(RUN_HEAD, length, PIECE_BLOCK))
    return Run(kind, epoch, first, behind[7:15], blocks), length


def cut_run(kind: int, data: bytes, tag: bytes, epoch: int, cursor: int, room: int, draw):
    """The sender's run for this room, or None, and the next cursor.

    The first pass over the object is in order; from then on runs begin anywhere.
    """
    total = BLOCKS[kind]
    count = min((room - RUN_HEAD) // PIECE_BLOCK, total)
    if count < 1:
        return None, cursor
    if cursor < total:
        first, cursor = cursor, min(cursor + count, total)
    else:
        first = int.from_bytes(draw("first-block", 2), "big") % total
    indexes = [(first + i) % total for i in range(count)]
    blocks = tuple(data[PIECE_BLOCK * i : PIECE_BLOCK * (i + 1)] for i in indexes)
    return Run(kind, epoch, first, tag, blocks), cursor


# Section 5: assemblies.


@dataclass(frozen=True)
class Assembly:
    """What is here of an object: its tag, and blocks by index."""

    tag: bytes
    blocks: tuple[tuple[int, bytes], ...]

    def has_all_of(self, run: Run) -> bool:
        here = {i for i, _ in self.blocks}
        return all(i in here for i, _ in run.placed())


def add_run(assembly: Assembly | None, run: Run, again: bool) -> Assembly | bytes:
    """The assembly with the run; or the whole object, if all blocks are here.

    ``again``: a run of which every block is here is added all the same.
    """
    if assembly is None or assembly.tag != run.tag:
        assembly = Assembly(run.tag, ())
    elif assembly.has_all_of(run) and not again:
        return assembly
    blocks = dict(assembly.blocks)
    blocks.update(run.placed())
    if len(blocks) == BLOCKS[run.kind]:
        return b"".join(blocks[i] for i in sorted(blocks))
    return Assembly(run.tag, tuple(sorted(blocks.items())))


# Section 3: phases.


@dataclass(frozen=True)
class Idle:
    pass


@dataclass(frozen=True)
class Offering:
    seed: bytes
    h_ek: bytes
    peer_has_key: bool
    assembly: Assembly | None


@dataclass(frozen=True)
class Secret:
    ss: bytes
    h_ek: bytes
    h_ct: bytes


@dataclass(frozen=True)
class Waiting:
    assembly: Assembly | None


@dataclass(frozen=True)
class Keyed:
    ek: bytes


@dataclass(frozen=True)
class Answering:
    ss: bytes
    h_ek: bytes
    ct: bytes
    assembly: Assembly | None

    @property
    def h_ct(self) -> bytes:
        return h_ct(self.h_ek, self.ct)


Phase = Idle | Offering | Secret | Waiting | Keyed | Answering


def work_before_send(phase: Phase, epoch: int, cursor: int, draw) -> tuple[Phase, int]:
    """Section 5, "Work before a send": the phase and the cursor."""
    if epoch == MAX_U32:
        return phase, cursor
    if isinstance(phase, Idle):
        seed = draw("ratchet-kem-seed", 64)
        return Offering(seed, h_ek(MLKEM768.key(seed)), False, None), 0
    if isinstance(phase, Keyed):
        ss, ct = MLKEM768.encapsulate(phase.ek, draw("ratchet-kem-message", 32))
        return Answering(ss, h_ek(phase.ek), ct, None), 0
    return phase, cursor


def run_to_send(
    phase: Phase, epoch: int, cursor: int, room: int, draw
) -> tuple[Run | None, int]:
    """The run of a message whose header carries ``epoch``."""
    if epoch == MAX_U32:
        return None, cursor
    if isinstance(phase, Offering) and not phase.peer_has_key:
        ek = MLKEM768.key(phase.seed)
        return cut_run(KEY, ek, phase.h_ek[:8], epoch + 1, cursor, room, draw)
    if isinstance(phase, Answering):
        return cut_run(CIPHERTEXT, phase.ct, phase.h_ct[:8], epoch + 1, cursor, room, draw)
    return None, cursor


def after_message(phase: Phase, epoch: int, run: Run | None, stepped: bool) -> Phase:
    """Section 5, "After a message has opened". ``epoch`` is the current one,
    after the message's own epoch step."""
    if run is not None and run.epoch != epoch + 1:
        run = None
    kind = run.kind if run else None
    if isinstance(phase, Offering):
        if kind == CIPHERTEXT:
            return _take_ciphertext(phase, run)
        if stepped:
            return replace(phase, peer_has_key=False)
    elif isinstance(phase, Waiting) and kind == KEY:
        return _take_key(phase.assembly, run, lambda assembly: Waiting(assembly))
    elif isinstance(phase, Keyed) and kind == KEY:
        if run.tag != h_ek(phase.ek)[:8]:
            return _take_key(None, run, lambda assembly: Waiting(assembly))
    elif isinstance(phase, Answering) and kind == KEY:
        if run.tag != phase.h_ek[:8]:
            return _take_key(
                phase.assembly, run, lambda assembly: replace(phase, assembly=assembly)
            )
    return phase


def _take_ciphertext(phase: Offering, run: Run) -> Phase:
    got = add_run(phase.assembly, run, again=not phase.peer_has_key)
    phase = replace(phase, peer_has_key=True)
    if isinstance(got, Assembly):
        return replace(phase, assembly=got)
    hash_of_ct = h_ct(phase.h_ek, got)
    if hash_of_ct[:8] != run.tag:
        return replace(phase, assembly=None)
    return Secret(MLKEM768.decapsulate(phase.seed, got), phase.h_ek, hash_of_ct)


def _take_key(assembly: Assembly | None, run: Run, otherwise) -> Phase:
    """Keyed if the key is whole and fits; else ``otherwise`` of the assembly."""
    got = add_run(assembly, run, again=False)
    if isinstance(got, Assembly):
        return otherwise(got)
    if h_ek(got)[:8] != run.tag:
        return otherwise(None)
    with reported_as("R-602"):
        MLKEM768.check_key(got)
    return Keyed(got)
