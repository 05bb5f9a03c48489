"""Programs that an operator keeps in S3 for steps to carry to hosts: what `fetched_tools:` says of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated

from pydantic import Field

from bot.shapes import Shape
from bot.values import Matches


@dataclass(frozen=True, slots=True, kw_only=True)
class FetchedTool:
    """An object of S3, and what it must be."""

    bucket: str
    key: str
    sha256: str  # hex

    @property
    def name(self) -> str:
        """Of the file that becomes of it."""
        return self.key.rpartition("/")[2]

    @property
    def place(self) -> str:
        """Where it lies, for people."""
        return f"s3://{self.bucket}/{self.key}"


class FetchedToolShape(Shape):
    """A program in S3."""

    from_: Annotated[
        str,
        Matches(
            r"s3://[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]/(?:[A-Za-z0-9!_.*'() =+@,-]{1,200}/){0,20}[A-Za-z0-9_][A-Za-z0-9._+-]{0,99}",
            "an object in S3, such as `s3://ops-tools/sysinternals/procdump64.exe`",
        ),
    ] = Field(
        alias="from",
        description="the object; it is reached as the bucket of `s3` is",
        examples=["s3://ops-tools/sysinternals/procdump64.exe"],
    )
    sha256: Annotated[str, Matches("[0-9a-f]{64}", "64 hexadecimal digits, as `sha256sum` prints them")] = Field(
        description="its checksum: nothing else is taken", examples=["0" * 64]
    )


def read_tools(shapes: Sequence[FetchedToolShape]) -> tuple[FetchedTool, ...]:
    """What is to be fetched."""
    places = [(*shape.from_.removeprefix("s3://").partition("/"), shape.sha256) for shape in shapes]
    return tuple(FetchedTool(bucket=bucket, key=key, sha256=sha256) for bucket, _, key, sha256 in places)
