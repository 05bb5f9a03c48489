"""How a step reaches its target: one file a way, one protocol for all.

A transport runs exactly one step at a time through an `Execution`. The runner repeats a step that
samples, bounds time and bytes, and always calls `Execution.stop`; a transport never does those.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Protocol

from bot.model import Sql, Step, Target, TargetKind

STOP_TIMEOUT_S = 15.0  # within this, `Execution.stop` has proved the end or says that it could not


@dataclass(frozen=True, slots=True, kw_only=True)
class FileHead:
    """The file that a step left on its host begins: its name as it comes, with the ending of compression, and its type."""

    name: str
    type: str


@dataclass(frozen=True, slots=True)
class FileEnd:
    """All of that file came."""


Piece = bytes | FileHead | FileEnd


class Execution(Protocol):
    """One step under way on one target."""

    @property
    def command(self) -> str:
        """What runs there, for the manifest: parameters filled in, no secret in it."""

    @property
    def exit_status(self) -> int | None:
        """The program's own exit status; None while it runs and where there is none."""

    @property
    def remark(self) -> str:
        """What else came to light there, as sentences; "" when nothing did. Complete once `output` or `stop` has ended."""

    def output(self) -> AsyncIterator[Piece]:
        """Yield output as it comes, to be iterated once; after a FileHead, the bytes of that file and, if all came, FileEnd.

        Ends normally when the step ended well. Raises StepFailed at any other end: FAILED with the
        program's own complaint, TIMED_OUT when the limit on the target itself struck, LOST when the
        connection went, SKIPPED when something that the step needs is not there. All output that
        came before the bad end was yielded before the error is raised.
        """

    async def stop(self) -> str:
        """End the step on the target and prove it; safe to call at any time, more than once.

        Returns "" when it had already ended by itself, else one sentence that says what was proved
        ("process group 8123 gone") or that it could not be. Never raises StepFailed; takes at most
        STOP_TIMEOUT_S seconds.
        """


def way_of(target: Target, step: Step, wants: TargetKind) -> str:
    """The name of the transport that takes *step*, of a recipe for *wants*, to *target*; "" where there is none."""
    if isinstance(step.action, Sql):
        return "mysql" if target.mysql else ""
    if wants is TargetKind.WINDOWS:
        return "windows" if target.windows else ""
    return "local" if target.local else "ssh" if target.ssh else ""


class Transport(Protocol):
    """A way to reach targets."""

    async def start(self, target: Target, step: Step, *, capture_id: str) -> Execution:
        """Start *step* on *target*.

        The step's own time limit is also set on the target (`step.timeout_s` plus a grace), so that
        nothing outlives a bot that died. Raises StepFailed when it cannot be started, with a reason
        that names the target and the cure.
        """

    async def check(self, target: Target) -> list[str]:
        """Say what `capturebot doctor` should print: lines of "ok: …" or "fault: … — cure"."""

    async def close(self) -> None:
        """End pooled connections; bounded in time."""
