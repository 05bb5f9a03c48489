"""`redaction` in capturebot.yml: what is masked besides secrets, and what stays."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, model_validator

from bot.model import STANDARD, OwnPattern, Redaction
from bot.redact.known import KNOWN_KIND
from bot.redact.optional import KINDS as OPTIONAL_KINDS
from bot.redact.own import PATTERN_CHARS, compiled, fault_of
from bot.redact.patterns import RULES
from bot.shapes import Shape, wrong
from bot.values import Matches
from bot.yamlfile import shown

PATTERNS = 50  # at most
KEPT = 200  # at most

_TAKEN = {KNOWN_KIND, *OPTIONAL_KINDS, *(rule.kind for rule in RULES)}

PatternText = Annotated[str, Field(min_length=1, max_length=PATTERN_CHARS)]


class OwnPatternShape(Shape):
    """A shape of secret that only you have."""

    name: Annotated[str, Matches("[a-z][a-z0-9-]{0,30}", "lower-case letters, digits and `-`, a letter first")] = Field(
        description="what the mask calls it", examples=["acme-token"]
    )
    pattern: PatternText = Field(
        description="a regular expression (google-re2); its group, where it has one, is the secret",
        examples=["ACME-[0-9A-F]{32}"],
    )

    @model_validator(mode="after")
    def _is_usable(self) -> OwnPatternShape:
        if self.name in _TAKEN:
            wrong("is a kind that is masked already", "call it something else", at="name")
        if why := fault_of(self.pattern):
            wrong(why, "write what only the secret has, such as `ACME-[0-9A-F]{32}`", at="pattern")
        return self


class RedactionShape(Shape):
    """What is masked in evidence besides secrets, and what stays though it looks like one."""

    patterns: Annotated[list[OwnPatternShape], Field(max_length=PATTERNS)] = Field(
        [], description="shapes of secrets that only you have"
    )
    keep: Annotated[list[PatternText], Field(max_length=KEPT)] = Field(
        [],
        description="regular expressions of values that look like secrets and are none; what the bot itself knows is masked all the same",
        examples=[["AKIAIOSFODNN7EXAMPLE"]],
    )
    emails: bool = Field(False, description="mask e-mail addresses", examples=[True])
    addresses: bool = Field(False, description="mask IP addresses, which insights then cannot tell", examples=[True])
    sql_literals: bool = Field(False, description="mask the values in SQL statements", examples=[True])

    @model_validator(mode="after")
    def _is_whole(self) -> RedactionShape:
        names = [own.name for own in self.patterns]
        for name in names:
            if names.count(name) > 1:
                wrong(f"has two patterns called `{shown(name)}`", "give each a name of its own", at="patterns")
        for pattern in self.keep:
            try:
                compiled(pattern)
            except ValueError as error:
                wrong(f"holds `{shown(pattern)}`, which is no regular expression ({error})", "correct it", at="keep")
        return self


def read_redaction(shape: RedactionShape | None) -> Redaction:
    """What the shape says, or what holds where there is none."""
    if shape is None:
        return STANDARD
    return Redaction(
        patterns=tuple(OwnPattern(name=own.name, pattern=own.pattern) for own in shape.patterns),
        keep=tuple(shape.keep),
        emails=shape.emails,
        addresses=shape.addresses,
        sql_literals=shape.sql_literals,
    )
