"""The Events API: what the app subscribed to and may see, delivered at least once."""

from __future__ import annotations

import secrets

from bot.playground.workspace.nouns import APP_ID, BOT_USER_ID, TEAM_ID
from bot.playground.workspace.shapes import Json
from bot.playground.workspace.world import World
from bot.tasks import Tasks

_UNDER_WAY = 1_000  # deliveries at once, retries included; more are dropped, as Slack does at its own limit

_SCOPES = {
    "message.channels": "channels:history",
    "message.groups": "groups:history",
    "app_mention": "app_mentions:read",
    "channel_created": "channels:read",
    "channel_rename": "channels:read",
    "group_rename": "groups:read",
    "pin_added": "pins:read",
}
_FOR_MEMBERS = {"message", "app_mention", "member_joined_channel", "group_rename", "pin_added"}


class Events:
    """Sends events, and sends them again when they are not acknowledged."""

    def __init__(self, world: World, tasks: Tasks) -> None:
        self._world = world
        self._tasks = tasks
        self.dropped = 0

    def publish(self, event: Json) -> None:
        """Deliver *event* if the app asked for its kind, has the scope, and its bot is where it happened."""
        if not self._wanted(event):
            return
        if len(self._tasks) >= _UNDER_WAY:
            self.dropped += 1
            return
        self._tasks.start(self._deliver(self._wrapped(event)), name=f"event {event['type']}")

    def _wanted(self, event: Json) -> bool:
        place = event.get("channel", event.get("channel_id"))
        if isinstance(place, dict):
            place = place.get("id")
        channel = self._world.state.channels.get(place) if isinstance(place, str) else None
        private = bool(channel and channel.private)
        kind = event["type"]
        if kind in _FOR_MEMBERS and channel and BOT_USER_ID not in channel.members:
            return False
        if kind == "message":
            kind = "message.groups" if private else "message.channels"
        scope = _SCOPES.get(kind)
        if kind == "member_joined_channel":
            scope = "groups:read" if private else "channels:read"
        app = self._world.app
        return kind in app.events and (scope is None or scope in app.scopes)

    async def _deliver(self, payload: Json) -> None:
        """Once, then again after each pause of Limits.event_retries_s until it is acknowledged."""
        for attempt, pause_s in enumerate((None, *self._world.limits.event_retries_s)):
            if pause_s is not None:
                await self._world.clock.sleep(pause_s)
            answer = await self._world.sockets.deliver(
                "events_api", payload, retry_attempt=attempt, retry_reason="timeout" if attempt else ""
            )
            if not answer.error:
                return

    def _wrapped(self, event: Json) -> Json:
        return {
            "type": "event_callback",
            "token": "playground",
            "team_id": TEAM_ID,
            "api_app_id": APP_ID,
            "event": event,
            "event_id": f"Ev{secrets.token_hex(5).upper()}",
            "event_time": int(self._world.clock.now()),
            "event_context": secrets.token_urlsafe(12),
            "is_ext_shared_channel": False,
            "authorizations": [
                {
                    "enterprise_id": None,
                    "team_id": TEAM_ID,
                    "user_id": BOT_USER_ID,
                    "is_bot": True,
                    "is_enterprise_install": False,
                }
            ],
        }
