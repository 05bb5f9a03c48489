"""What a Windows program wrote, as the text that everything else here reads: UTF-8, lines that end with a line feed.

Steps set the console to UTF-8. Some programs write UTF-16 all the same, and begin with its mark; some write in the code
page of old, where bytes that are no UTF-8 are replaced and counted. However it was chunked, the outcome is the same.
"""

from __future__ import annotations

import codecs

_MARKS = {codecs.BOM_UTF16_LE: "utf-16-le", codecs.BOM_UTF16_BE: "utf-16-be"}
_UTF8_MARK = "\ufeff"


def encoding_of(head: bytes) -> str:
    """What the first two bytes of a text say of it."""
    return _MARKS.get(head[:2], "utf-8")


class Unifier:
    """Turns one text; *encoding* where its beginning was read already, None where it comes."""

    def __init__(self, encoding: str | None = None) -> None:
        self.replaced = 0  # bytes that could not be read, or runs of them
        self.encoding = encoding
        self._decode = codecs.getincrementaldecoder(encoding)(errors="replace") if encoding else None
        self._held = b""
        self._return = False  # the last character was one, and may belong to a line's end
        self._begun = False

    def feed(self, data: bytes) -> bytes:
        """What *data* adds."""
        if self._decode is None:
            self._held += data
            if len(self._held) < 2:
                return b""
            data, self._held = self._held, b""
            self.encoding = encoding_of(data)
            self._decode = codecs.getincrementaldecoder(self.encoding)(errors="replace")
        return self._unified(self._decode.decode(data))

    def finish(self) -> bytes:
        """What is left."""
        if self._decode is None:
            self._decode = codecs.getincrementaldecoder("utf-8")(errors="replace")
        rest = self._unified(self._decode.decode(self._held, final=True))
        return rest + (b"\r" if self._return else b"")

    def remark(self, what: str) -> str:
        """What a reader of *what* should know, as a sentence; "" where it was plain UTF-8."""
        if self.encoding in _MARKS.values():
            return f"{what} is UTF-16, kept as UTF-8."
        if self.replaced:
            return f"{what} is not all UTF-8: what could not be read stands as “�” ({self.replaced} places)."
        return ""

    def _unified(self, text: str) -> bytes:
        if text and not self._begun:
            self._begun = True
            text = text.removeprefix(_UTF8_MARK)
        self.replaced += text.count("\ufffd")
        if self._return:
            text = "\r" + text
        self._return = text.endswith("\r")
        if self._return:
            text = text[:-1]
        return text.replace("\r\n", "\n").encode("utf-8", "replace")
