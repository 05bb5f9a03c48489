"""What the methods of the Web API and the people in the workspace work on."""

from __future__ import annotations

import secrets
from dataclasses import dataclass, field

from bot.playground.workspace.app import App
from bot.playground.workspace.changes import Changes
from bot.playground.workspace.clock import Clock
from bot.playground.workspace.limits import Limits, Rates
from bot.playground.workspace.modals import Modals
from bot.playground.workspace.nouns import BOT_USER_ID, Channel
from bot.playground.workspace.socketmode import Sockets
from bot.playground.workspace.state import State
from bot.playground.workspace.tickets import ResponseUrls, Triggers
from bot.playground.workspace.wire import Refusal


def new_token(kind: str) -> str:
    """A token that nobody else has; it says of itself where it is from."""
    return f"{kind}-playground-{secrets.token_hex(12)}"


@dataclass(slots=True, kw_only=True)
class World:
    """The parts of one workspace. *address* is set once the server listens."""

    app: App
    limits: Limits
    clock: Clock
    changes: Changes
    state: State
    rates: Rates
    modals: Modals
    triggers: Triggers
    urls: ResponseUrls
    sockets: Sockets
    address: str = ""
    bot_token: str = field(default_factory=lambda: new_token("xoxb"))
    app_token: str = field(default_factory=lambda: new_token("xapp-1"))
    revoked: set[str] = field(default_factory=set)  # tokens that were replaced

    def channel(self, channel_id: str) -> Channel:
        """A channel that the bot can see: public, or private with the bot in it. Raises Refusal."""
        channel = self.state.channels.get(channel_id)
        if channel is None or (channel.private and BOT_USER_ID not in channel.members):
            raise Refusal("channel_not_found")
        return channel

    def needs_scope(self, *scopes: str) -> None:
        """Refuse unless one of *scopes* was granted."""
        if not self.app.scopes & set(scopes):
            provided = ",".join(sorted(self.app.scopes))
            raise Refusal("missing_scope", needed=",".join(scopes), provided=provided)
