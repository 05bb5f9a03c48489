"""What a cost script says on a target: masked as the captures of the same incident are."""

from __future__ import annotations

import re

import pytest

from bot.errors import StepFailed, UserError
from bot.measuring import Measurer
from bot.model import Event, Measure, Target, TargetKind
from bot.model import Script as ScriptAction
from bot.redact import Redactor
from tests.fakes import Clock, Script, ScriptedTransport

HOST = Target(name="app-1", local=True)


async def told(redactor: Redactor, *, incident: str | None, offer_id: str) -> str:
    """Why a measurement failed that says a password, as people read it."""

    async def emit(_: Event) -> None:
        return

    failing = Script(failure=StepFailed("it said password=hunter2 and ended."))
    measurer = Measurer(
        transports={"local": ScriptedTransport({"cost": failing})}, redactor=redactor, emit=emit, now=Clock()
    )
    measure = Measure(script=ScriptAction(name="cost.sh", text="exit 1"), timeout_s=5)
    with pytest.raises(UserError) as caught:
        await measurer.measure(measure, {}, [HOST], wants=TargetKind.HOST, offer_id=offer_id, incident=incident)
    (mask,) = re.findall(r"\[masked:[^]]+\]", caught.value.message)
    assert "hunter2" not in caught.value.message
    return str(mask)


async def test_a_secret_has_the_mask_of_its_incident_before_the_capture_too() -> None:
    """Whoever reads the cost and then the evidence sees that it is the same one; another incident has another mask."""
    redactor = Redactor(tuple, salt=b"of the journal")

    first = await told(redactor, incident="PABC", offer_id="o1")
    second = await told(redactor, incident="PABC", offer_id="o2")
    alone = await told(redactor, incident=None, offer_id="o1")

    assert first == second
    assert first in redactor.within("PABC").text("user=app password=hunter2 port=1")
    assert alone != first
