"""`capturebot redact`: a file as it would be kept, or only where its secrets are. Nothing is stored or sent."""

from __future__ import annotations

import hmac
import os
import re
import secrets
import sys
from collections.abc import Iterator, Mapping
from contextlib import nullcontext
from pathlib import Path
from typing import BinaryIO

from bot.errors import SecretMissing, UserError
from bot.model import STANDARD, SecretRef
from bot.redact import BLOCK_BYTES, RedactionStream, Redactor
from bot.references import references_in
from bot.secrets import Secrets
from bot.settings import Settings
from bot.story import receipt

STDIN = "-"


async def redact_dry(
    source: str, settings: Settings | None, *, environ: Mapping[str, str], base: Path, report: bool
) -> None:
    """Write what is left of *source*, a path or ``-``, to standard output, and what was masked to standard error.

    *report* writes a line for each secret in place of the text: where it stands, and its mask. Secrets that the settings
    name are looked for as far as this machine has them. Raises UserError where *source* cannot be read.
    """
    found = Secrets(environ, base=base)
    named = list(dict.fromkeys(references_in(settings))) if settings else []
    missing = [reference for reference in named if not await _is_here(found, reference)]
    redaction = settings.redaction if settings else STANDARD
    redactor = Redactor(found.known, salt=secrets.token_bytes(32), redaction=redaction)
    stream = redactor.stream(_Pointing if report else RedactionStream)
    with _opened(source) as file:
        try:
            for piece in _through(stream, file):
                sys.stdout.buffer.write(stream.told(piece) if isinstance(stream, _Pointing) else piece)
            sys.stdout.flush()
        except BrokenPipeError:  # `| head` has seen enough; Python would complain again when it closes the pipe
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    _say(f"{receipt(stream.masked)}.")
    if missing:
        _say(
            f"{len(missing)} of {len(named)} secrets that the settings name are not to be had here, and were not looked for."
        )


async def _is_here(found: Secrets, reference: SecretRef) -> bool:
    try:
        await found.resolve(reference)
    except SecretMissing:
        return False
    return True


def _opened(source: str) -> nullcontext[BinaryIO] | BinaryIO:
    if source == STDIN:
        return nullcontext(sys.stdin.buffer)
    try:
        return Path(source).open("rb")
    except OSError as error:
        raise UserError(
            f"{source} cannot be read: {error.strerror}.", cure="Name a file, or `-` for what is piped in."
        ) from None


def _through(stream: RedactionStream, file: BinaryIO) -> Iterator[bytes]:
    while data := file.read(BLOCK_BYTES):
        yield stream.feed(data)
    yield stream.finish()


def _say(text: str) -> None:
    print(text, file=sys.stderr)  # noqa: T201  (the command line's own output)


class _Pointing(RedactionStream):
    """Leaves at each mask a word that nothing else can hold, with how many lines the secret took away."""

    _word = secrets.token_hex(16)
    _place = re.compile(rf"{_word}(\[[^\]]+\])([0-9]+);".encode())
    _taken = 0
    _line = 1

    def _mask(self, kind: str, secret: bytes) -> bytes:
        self._taken = secret.count(b"\n")
        return super()._mask(kind, secret)

    def _named(self, kind: str, digest: hmac.HMAC) -> bytes:
        taken, self._taken = self._taken, 0
        return b"%s%s%d;" % (self._word.encode(), super()._named(kind, digest), taken)

    def told(self, piece: bytes) -> bytes:
        """The lines about *piece*, the next that came out of this stream."""
        lines, at = [], 0
        for found in self._place.finditer(piece):
            self._line += piece.count(b"\n", at, found.start())
            lines.append(b"%d: %s\n" % (self._line, found[1]))
            self._line += int(found[2])
            at = found.end()
        self._line += piece.count(b"\n", at)
        return b"".join(lines)
