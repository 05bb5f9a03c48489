"""The grammar of references to secrets.

``env:NAME``, ``file:/path`` and ``systemd:NAME`` are of this machine. ``vault://mount/path#key`` is of Vault or OpenBao,
``awssm://name#key`` of AWS Secrets Manager, where ``#key`` names a part of a JSON text and may be left out, and
``?region=…`` may stand before it. A part inside of a part is ``#outer/inner``. The spellings of helmfile's vals
(``ref+vault://…#/key``, ``ref+openbao://…``, ``ref+awssecrets://…``) mean the same.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields, is_dataclass

from bot.model import SecretRef

_PART = r"(?!\.{1,2}(?:[/?#]|$))[A-Za-z0-9_.@:=+,~!-]{1,200}"
_KEY = r"#/?[^\x00-\x1f\x7f#/][^\x00-\x1f\x7f#]{0,199}"
LOCAL = r"env:[A-Za-z_][A-Za-z0-9_]{0,200}|file:[^\x00-\x1f]{1,4000}|systemd:[A-Za-z0-9_@:-][A-Za-z0-9_.@:-]{0,254}"
REFERENCE = (
    rf"{LOCAL}|(?:vault|ref\+vault|ref\+openbao)://{_PART}(?:/{_PART}){{1,20}}{_KEY}"
    rf"|(?:awssm|ref\+awssecrets)://{_PART}(?:/{_PART}){{0,20}}(?:\?region=[a-z0-9-]{{1,40}})?(?:{_KEY})?"
)
_ALIASES = {"ref+vault": "vault", "ref+openbao": "vault", "ref+awssecrets": "awssm"}
_STORE = re.compile(r"(?P<scheme>[a-z]+)://(?P<path>[^?#]+)(?:\?region=(?P<region>[a-z0-9-]+))?(?:#(?P<key>.+))?")


@dataclass(frozen=True, slots=True)
class Place:
    """Where in a store: *key* is "" where the whole of *path* is meant, *region* where the settings' own is."""

    scheme: str
    path: str
    key: str
    region: str

    def __str__(self) -> str:
        region, key = self.region and f"?region={self.region}", self.key and f"#{self.key}"
        return f"{self.scheme}://{self.path}{region}{key}"


def read_reference(text: str, *, local: bool = False) -> SecretRef | None:
    """What *text* refers to, its alias replaced; None where it is no reference, or with *local* one to a store."""
    if not re.fullmatch(LOCAL if local else REFERENCE, text):
        return None
    scheme, colon, rest = text.partition("://")
    if colon and scheme in _ALIASES:
        text = f"{_ALIASES[scheme]}://{rest}"
    return SecretRef(text.replace("#/", "#", 1) if _STORE.fullmatch(text) else text)


def place_of(ref: SecretRef) -> Place | None:
    """Where in a store *ref* leads; None where it is of this machine."""
    found = _STORE.fullmatch(ref.text)
    return Place(found["scheme"], found["path"], found["key"] or "", found["region"] or "") if found else None


def scheme_of(ref: SecretRef) -> str:
    """What stands before the colon; "" without one."""
    scheme, colon, _ = ref.text.partition(":")
    return scheme if colon else ""


def references_in(value: object) -> Iterator[SecretRef]:
    """Every reference in settings, wherever it lies."""
    match value:
        case SecretRef():
            yield value
        case Mapping():
            yield from references_in(tuple(value.values()))
        case tuple():
            for inner in value:
                yield from references_in(inner)
        case _ if is_dataclass(value):
            for field in fields(value):
                yield from references_in(getattr(value, field.name))
