"""What an interaction hands to the app to come back with: trigger ids and response URLs."""

from __future__ import annotations

import secrets
from collections import OrderedDict
from dataclasses import dataclass

from bot.playground.workspace.clock import Clock
from bot.playground.workspace.limits import Limits
from bot.playground.workspace.wire import Refusal

_KEPT = 5_000  # of each kind; the oldest are forgotten


@dataclass(slots=True)
class _Trigger:
    user: str
    born: float
    used: bool = False


class Triggers:
    """Trigger ids: 3 seconds, once."""

    def __init__(self, clock: Clock, limits: Limits) -> None:
        self._clock = clock
        self._limits = limits
        self._known: OrderedDict[str, _Trigger] = OrderedDict()

    def new(self, user: str) -> str:
        """A trigger id for something that *user* just did."""
        trigger_id = f"{len(self._known) + 1}.{int(self._clock.now())}.{secrets.token_hex(16)}"
        self._known[trigger_id] = _Trigger(user, self._clock.now())
        while len(self._known) > _KEPT:
            self._known.popitem(last=False)
        return trigger_id

    def redeem(self, trigger_id: str) -> str:
        """The user whose action made *trigger_id*. Raises Refusal when it is spent, late or unknown."""
        if (trigger := self._known.get(trigger_id)) is None:
            raise Refusal("invalid_trigger_id")
        if trigger.used:
            raise Refusal("exchanged_trigger_id")
        if self._clock.now() - trigger.born > self._limits.trigger_s:
            raise Refusal("expired_trigger_id")
        trigger.used = True
        return trigger.user


@dataclass(slots=True, kw_only=True)
class Reply:
    """Where the messages sent to one response URL go."""

    channel: str
    user: str
    source_ts: str | None  # the message that was acted on; None for a slash command
    born: float
    uses: int = 0


class ResponseUrls:
    """Response URLs: five uses within 30 minutes."""

    def __init__(self, clock: Clock, limits: Limits) -> None:
        self._clock = clock
        self._limits = limits
        self._known: OrderedDict[str, Reply] = OrderedDict()

    def new(self, *, channel: str, user: str, source_ts: str | None = None) -> str:
        """A new address, as the path below the workspace's own."""
        key = secrets.token_urlsafe(18)
        self._known[key] = Reply(channel=channel, user=user, source_ts=source_ts, born=self._clock.now())
        while len(self._known) > _KEPT:
            self._known.popitem(last=False)
        return f"/response/{key}"

    def use(self, key: str) -> Reply:
        """Count one use. Raises Refusal when the address is unknown, late or used up."""
        reply = self._known.get(key)
        if reply is None or self._clock.now() - reply.born > self._limits.response_url_s:
            raise Refusal("expired_url")
        if reply.uses >= self._limits.response_url_uses:
            raise Refusal("used_url")
        reply.uses += 1
        return reply
