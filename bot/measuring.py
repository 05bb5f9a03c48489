"""Measures what a capture would cost, on the target, before anybody is asked to agree to it."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import aclosing
from datetime import datetime

from bot import cost
from bot.cost import Cost
from bot.errors import UserError
from bot.model import Event, Measure, Outcome, Probed, Step, Target, TargetKind
from bot.pipeline import Allowance, StepStream
from bot.recipes import bind
from bot.redact import Redactor
from bot.transports import Execution, Transport, way_of

AT_ONCE = 8  # cost scripts under way, over all offers


class Measurer:
    """Runs cost scripts. *redactor* (its form for each incident) takes secrets out of what people read of them; *emit* keeps that they ran."""

    def __init__(
        self,
        *,
        transports: Mapping[str, Transport],
        redactor: Redactor,
        emit: Callable[[Event], Awaitable[object]],
        now: Callable[[], datetime],
    ) -> None:
        self._emit = emit
        self._transports = transports
        self._redactor = redactor
        self._now = now
        self._places = asyncio.Semaphore(AT_ONCE)

    async def measure(
        self,
        measure: Measure,
        parameters: Mapping[str, str | int],
        targets: Sequence[Target],
        *,
        wants: TargetKind,
        offer_id: str,
        incident: str | None = None,
    ) -> dict[str, Cost]:
        """The cost on each of *targets*, by name, all measured at once, of a recipe for *wants*.

        Raises UserError that names the first target on which it cannot be measured, and why; JournalError.
        """
        step = Step(
            id="cost",
            title="What it costs",
            action=measure.script,
            timeout_s=measure.timeout_s,
            limit_bytes=cost.TEXT_BYTES,
            passed=measure.passed,
        )
        bound = bind(step, parameters)
        redactor = self._redactor.within(incident or offer_id)  # a secret has the mask that the captures show it by
        async with asyncio.TaskGroup() as group:
            tasks = {
                target.name: group.create_task(self._one(bound, target, wants, offer_id, redactor))
                for target in targets
            }
        costs: dict[str, Cost] = {}
        for name, task in tasks.items():
            if isinstance(found := task.result(), UserError):
                raise found
            costs[name] = found
        return costs

    async def _one(
        self, step: Step, target: Target, wants: TargetKind, offer_id: str, redactor: Redactor
    ) -> Cost | UserError:
        transport = self._transports.get(way_of(target, step, wants))
        if transport is None:
            return UserError(
                f"What this costs on {target.name} cannot be measured: it has no host access in capturebot.yml.",
                cure="Whoever runs capturebot adds `ssh:` to it.",
            )

        async def start() -> Execution:
            return await transport.start(target, step, capture_id=offer_id)

        stream = StepStream(
            step, start, redaction=redactor.stream(), allowance=Allowance(step.limit_bytes), now=self._now
        )
        async with self._places, aclosing(stream.chunks()) as chunks:
            text = b"".join([chunk async for chunk in chunks]).decode("utf-8", "replace")
        await self._emit(
            Probed(
                what=f"the cost of offer {offer_id}",
                target=target.name,
                command=redactor.text(stream.command),
                outcome=stream.outcome,
                exit_status=stream.exit_status,
                at=self._now(),
            )
        )
        if stream.outcome is not Outcome.OK:
            why = redactor.text(stream.reason)
            return UserError(f"What this costs on {target.name} could not be measured, so nothing was started: {why}")
        if not (found := cost.read(text)).is_known:
            return UserError(f"What this costs on {target.name} could not be measured: its script said nothing of it.")
        return found
