"""Kinds of values that our files hold, each with its rule in the loader and in the JSON Schema."""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field, GetCoreSchemaHandler, GetJsonSchemaHandler, PlainValidator, WithJsonSchema
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema, core_schema

from bot.model import SecretRef
from bot.references import LOCAL, REFERENCE, read_reference
from bot.shapes import wrong


@dataclass(frozen=True)
class Matches:
    """Marks text that must match *pattern* as a whole; *must* completes "must be …"."""

    pattern: str
    must: str
    cure: str = ""

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.no_info_after_validator_function(self.check, handler(source))

    def __get_pydantic_json_schema__(self, core: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        return {**handler(core), "pattern": f"^(?:{self.pattern})$"}

    def check(self, text: str) -> str:
        """Refuse *text* that does not match."""
        return text if re.fullmatch(self.pattern, text) else wrong(f"must be {self.must}", self.cure)


LARGEST_BYTES = 20_000_000_000  # of one thing
LARGEST_TOTAL_BYTES = 100_000_000_000_000  # of many together
_UNITS = {"b": 1, "kb": 1000, "mb": 1000**2, "gb": 1000**3}  # bytes
_SIZE = r"([0-9]{1,12}(?:\.[0-9]{1,3})?) ?([bB]|[kK][bB]|[mM][bB]|[gG][bB])"


def _size(value: Any, most: int) -> int:
    """Bytes, from an integer or text such as `5 MB` (powers of 1000)."""
    cure = "write for example `5 MB`, `500 kB` or `2 GB` (powers of 1000), or plain bytes"
    if isinstance(value, str):
        match = re.fullmatch(_SIZE, value)
        if not match:
            wrong("is not a size", cure)
        value = round(float(match[1]) * _UNITS[match[2].lower()])
    if isinstance(value, bool) or not isinstance(value, int):
        wrong("is not a size", cure)
    if not 1 <= value <= most:
        wrong(f"must be from 1 byte to {most // _UNITS['gb']} GB", cure)
    return value


def _size_schema(most: int) -> WithJsonSchema:
    number = {"type": "integer", "minimum": 1, "maximum": most}
    return WithJsonSchema({"anyOf": [number, {"type": "string", "pattern": f"^(?:{_SIZE})$"}]})


Size = Annotated[int, PlainValidator(lambda value: _size(value, LARGEST_BYTES)), _size_schema(LARGEST_BYTES)]
Total = Annotated[
    int, PlainValidator(lambda value: _size(value, LARGEST_TOTAL_BYTES)), _size_schema(LARGEST_TOTAL_BYTES)
]


# --- secrets and addresses ----------------------------------------------------------------------

_CURE = "write `env:NAME` or `file:/path`; a secret that was written here should be replaced by a new one"
_OURS = "write `env:NAME`, `file:/path` or `systemd:NAME`"


def _secret(value: Any) -> SecretRef:
    """A reference. What stands there is never repeated: it may be the secret itself."""
    found = read_reference(value) if isinstance(value, str) else None
    return found or wrong("must be a reference to a secret, never the secret itself", _CURE)


def _local_secret(value: Any) -> SecretRef:
    """A reference to this machine, which is what the way into a store is opened with."""
    found = read_reference(value, local=True) if isinstance(value, str) else None
    return found or wrong("must be a reference to a secret of this machine", _OURS)


Secret = Annotated[
    SecretRef, PlainValidator(_secret), WithJsonSchema({"type": "string", "pattern": f"^(?:{REFERENCE})$"})
]
LocalSecret = Annotated[
    SecretRef, PlainValidator(_local_secret), WithJsonSchema({"type": "string", "pattern": f"^(?:{LOCAL})$"})
]

_HOST_NAME = re.compile(r"(?!.*\.\.)[A-Za-z0-9_][A-Za-z0-9_.-]{0,252}")


def check_host(text: str) -> str:
    """Refuse what is no name or address of a host."""
    if _is_address(text) or _HOST_NAME.fullmatch(text):
        return text
    if re.fullmatch(r"[^:/]+:[0-9]+", text):
        wrong("has a port in it", "write the port under `port`")
    if "@" in text:
        wrong("has a user in it", "write the user under `user`")
    return wrong("must be a host's name or address", "write it without a scheme, port or path, such as `10.0.0.5`")


def _is_address(text: str) -> bool:
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return True


def _url(text: str) -> str:
    """A base URL; secrets travel to it, so it is encrypted or stays on this machine."""
    try:
        parts = urlsplit(text)
        host, port = parts.hostname or "", parts.port
    except ValueError:
        host, port = "", None
    if not host or port == 0 or parts.scheme not in {"http", "https"} or not text.isprintable() or " " in text:
        wrong("must be a URL", "write for example `https://host.example/path`")
    if parts.username is not None or parts.password is not None:
        wrong("has a user or a password in it", "take them out: credentials have keys of their own")
    if parts.query or parts.fragment:
        wrong("must end with its path", "take out what begins with `?` or `#`")
    if parts.scheme == "http" and not _is_loopback(host):
        wrong("is not encrypted, and the host is another machine", "write `https://`; `http://` is for 127.0.0.1 only")
    return text


def _is_loopback(host: str) -> bool:
    return host == "localhost" or (_is_address(host) and ipaddress.ip_address(host).is_loopback)


Host = Annotated[
    str, AfterValidator(check_host), Field(json_schema_extra={"pattern": "^[A-Za-z0-9_:][A-Za-z0-9_.:%-]*$"})
]
Port = Annotated[int, Field(ge=1, le=65535)]
Url = Annotated[
    str, AfterValidator(_url), Field(json_schema_extra={"pattern": r"^(?:https://|http://(?:127\.|localhost|\[))"})
]
Text = Annotated[str, Matches(r"[^\x00-\x1f\x7f]{1,500}", "text on one line, and not empty")]
USER = r"[^\s\x00-\x1f:@/-][^\s\x00-\x1f:@/]{0,79}"
_USER = Matches(USER, "a user's name, without `@` and blanks")
User = Annotated[str, _USER]


def check_user(text: str) -> str:
    """Refuse what is no user's name."""
    return _USER.check(text)


def path_from(text: str, base: Path) -> Path:
    """An absolute path; `~` is the home of the bot's own user where it has one."""
    try:
        path = Path(text).expanduser()
    except RuntimeError:  # no such user, or one without a home
        path = Path(text)
    return base / path
