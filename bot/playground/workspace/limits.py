"""Slack's published numbers, and the windows that hold callers to them.

Sources are Slack's documentation of rate limits, interactivity, modals and the Events API.
"""

from __future__ import annotations

import math
from collections import OrderedDict, deque
from collections.abc import Mapping
from dataclasses import dataclass, field

from bot.playground.workspace.clock import Clock

TEXT_CUT_CHARS = 40_000  # chat.postMessage cuts longer text
UPDATE_TEXT_CHARS = 4_000  # chat.update refuses longer text
MARKDOWN_CHARS = 12_000
MESSAGE_BLOCKS = 50
VIEW_BLOCKS = 100
ATTACHMENTS = 100
VIEW_BYTES = 250_000
VIEW_STACK = 3
TABLE_CHARS = 10_000

REQUEST_BYTES = 2 * 1024 * 1024  # ours: the longest request body that is read
_WINDOWS_KEPT = 2_000  # ours: windows of the least lately used channels are forgotten


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """Everything that is a matter of time or rate. The defaults are Slack's; tests pass smaller ones."""

    ack_s: float = 3.0
    trigger_s: float = 3.0
    response_url_s: float = 1800.0
    response_url_uses: int = 5
    posts_per_s: float = 1.0  # in one channel
    post_burst: int = 5  # "short bursts" have no published number
    posts_per_minute: int = 300  # in the workspace: "several hundred"
    per_minute: Mapping[int, int] = field(default_factory=lambda: {1: 1, 2: 20, 3: 50, 4: 100})  # calls, by tier
    event_retries_s: tuple[float, ...] = (0.0, 60.0, 300.0)  # after the failed delivery before
    connections: int = 10  # Socket Mode connections of one app
    warning_s: float = 10.0  # from a disconnect frame to the end of the connection


class Rates:
    """Sliding windows: at most so many calls in so many seconds, by key."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._windows: OrderedDict[str, deque[float]] = OrderedDict()

    def take(self, key: str, *, count: int, within_s: float) -> int:
        """Count one call of *key*; return 0, or the whole seconds to wait (the call is then not counted)."""
        now = self._clock.now()
        window = self._windows.setdefault(key, deque())
        self._windows.move_to_end(key)
        while len(self._windows) > _WINDOWS_KEPT:
            self._windows.popitem(last=False)
        while window and window[0] <= now - within_s:
            window.popleft()
        if len(window) < count:
            window.append(now)
            return 0
        return max(1, math.ceil(window[0] + within_s - now))
