"""Conversations of the vectors: steps, carried out in order."""

from . import handshake, identity, prekeys, ratchet, state
from .operations import KIND_NAMES, KIND_NUMBERS, to_record, xor
from .party import Held, Party, Received
from .primitives import sign_public
from .refused import Refused
from .values import Text, to_bytes, to_draws, unhex


class World:
    """All that the names of one conversation stand for."""

    def __init__(self):
        self.people: dict[str, Party] = {}
        self.links: dict[str, bytes] = {}
        self.bundles: dict[str, tuple[Party, bytes, bytes]] = {}
        self.sessions: dict[str, Held] = {}
        self.owners: dict[int, Party] = {}
        self.envelopes: dict[str, bytes] = {}

    def stored(self) -> list[bytes]:
        """The stored form of every session."""
        return [state.write(held.state) for held in self.sessions.values()]

    def do(self, step: dict, draw=None, trace: dict | None = None) -> dict:
        """The step's results; Refused where it is refused.

        Without ``draw`` the step's own draws are handed out, and must be used up.
        """
        method = getattr(self, "_" + step["do"])
        if draw is not None:
            return method(step, draw, trace)
        listed = to_draws(step.get("draws"))
        out = method(step, listed, trace)
        listed.end()
        return out

    # Parties.

    def _person(self, i, draw, _):
        devices = [
            identity.Device(unhex(d["signing_secret"]), unhex(d["dh_secret"]))
            for d in i["devices"]
        ]
        secret = unhex(i["account_secret"])
        issued = identity.issue_list(secret, [d.keys for d in devices], i["counter"], None)
        self.people[i["person"]] = Party(devices[i["device"]], issued)
        return {
            "account": sign_public(secret),
            "fingerprint": identity.fingerprint(issued.account),
            "list": issued.data,
            "record": issued.record.write(),
        }

    def _link(self, i, draw, _):
        self.links[i["link"]] = unhex(i["link_secret"])
        return {}

    def _bundle(self, i, draw, _):
        party, link = self.people[i["person"]], prekeys.LinkKeys.of(self.links[i["link"]])
        bundle, private = prekeys.make_bundle(
            party.device, party.list, KIND_NUMBERS[i["kind"]], i["expiry"],
            to_bytes(i["route"]), draw,
        )
        sealed = prekeys.seal_bundle(link.card_key, bundle, draw)
        party.keep(private)
        self.bundles[i["bundle"]] = (party, private.id, sealed)
        return {
            "id": private.id, "digest": private.digest, "sealed": sealed,
            "stored": private.write(),
        }

    def _forget(self, i, draw, _):
        party, id_, _sealed = self.bundles[i["bundle"]]
        party.prekeys[id_].private = None
        return {}

    # Sessions.

    def _initiate(self, i, draw, trace):
        party, link = self.people[i["person"]], prekeys.LinkKeys.of(self.links[i["link"]])
        sealed = to_bytes(i["sealed"]) if "sealed" in i else self.bundles[i["bundle"]][2]
        bundle = prekeys.Bundle.open(
            link.card_key, sealed, unhex(i["fingerprint"]), i["today"], to_record(i["record"])
        )
        session = handshake.initiate(
            party.device, party.list, to_bytes(i["route"]), link, bundle, draw, trace
        )
        held = Held(session)
        party.sessions.append(held)
        self._name(i["session"], held, party)
        return {"id": session.id}

    def _name(self, name: str, held: Held, party: Party | None) -> None:
        self.sessions[name] = held
        if party is not None:
            self.owners[id(held)] = party

    def _seal(self, i, draw, trace):
        held = self.sessions[i["session"]]
        held.state, envelope = ratchet.seal(held.state, to_bytes(i["content"]), draw, trace)
        if "envelope" in i:
            self.envelopes[i["envelope"]] = envelope
        return {"bytes": envelope}

    def _arrived(self, i) -> bytes:
        return self.envelopes[i["envelope"]] if "envelope" in i else to_bytes(i["bytes"])

    def _receive(self, i, draw, trace):
        party = self.people[i["person"]]
        received = party.receive(
            self.links[i["link"]], self._arrived(i), i["today"], to_record(i["record"]),
            i.get("lookup", True), trace,
        )
        if received.outcome == "accepted":
            self._name(i["session"], received.session, party)
        return self._outcome(received)

    def _outcome(self, received: Received) -> dict:
        out = {"outcome": Text(received.outcome)}
        if received.accepted:
            identity_ = received.accepted.identity
            out |= {
                "id": received.accepted.session.id,
                "account": identity_.list.account,
                "device_keys": identity_.device_keys,
                "route": identity_.route,
            }
        elif received.session:
            names = [n for n, held in self.sessions.items() if held is received.session]
            out["session"] = Text(names[0])
        if received.content is not None:
            out["content"] = received.content
        return out

    def _open(self, i, draw, trace):
        held = self.sessions[i["session"]]
        held.state, content = ratchet.open_part(held.state, self._arrived(i), i["today"], trace)
        return {"content": content}

    def _expire(self, i, draw, _):
        held = self.sessions[i["session"]]
        held.state = ratchet.expire(held.state, i["today"])
        return {}

    def _state(self, i, draw, _):
        return {"stored": state.write(self.sessions[i["session"]].state)}

    def _reload(self, i, draw, _):
        held = self.sessions[i["session"]]
        held.state = state.read(state.write(held.state))
        return {}

    def _copy(self, i, draw, _):
        held = self.sessions[i["session"]]
        self._name(i["as"], Held(held.state.candidate()), self.owners.get(id(held)))
        return {}

    def _load(self, i, draw, _):
        held = Held(state.read(to_bytes(i["stored"])))
        party = self.people[i["person"]] if "person" in i else None
        if party is not None:
            party.sessions.append(held)
        self._name(i["session"], held, party)
        return {}

    def _delete(self, i, draw, _):
        held = self.sessions.pop(i["session"])
        party = self.owners.get(id(held))
        if party is not None:
            party.forget_session(held)
        return {}

    def _edit(self, i, draw, _):
        of = self.envelopes[i["of"]]
        self.envelopes[i["envelope"]] = xor(of, unhex(i["xor"]), i["at"])
        return {}


__all__ = ["KIND_NAMES", "Refused", "World"]
