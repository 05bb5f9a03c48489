"""What kind of answer a statement has."""

from __future__ import annotations

import re

_ONE_THING = re.compile(r"\s*SHOW\b.*\bSTATUS\s*", re.IGNORECASE | re.DOTALL)


def of_one_thing(text: str) -> bool:
    """Whether it is a ``SHOW … STATUS``, whose single row is a report about one thing rather than a table."""
    return bool(_ONE_THING.fullmatch(text.rstrip().removesuffix(";")))
