"""What an operator says of secrets beyond those that are always masked."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class OwnPattern:
    """A shape of secret that only this company has; *pattern* is a regular expression of google-re2.

    Its only group, where it has one, is the secret, else all of it is. It never reaches over the end of a line.
    """

    name: str  # stands in the mask
    pattern: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Redaction:
    """What is masked besides secrets, and what stays though it looks like one; secrets that the bot itself knows never stay."""

    patterns: tuple[OwnPattern, ...] = ()
    keep: tuple[str, ...] = ()  # regular expressions that the whole of a value matches
    emails: bool = False
    addresses: bool = False  # of the Internet protocol
    sql_literals: bool = False


STANDARD = Redaction()
