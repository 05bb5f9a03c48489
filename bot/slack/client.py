"""Slack's Web API with tokens that are read anew when Slack refuses them: rotating one takes no restart."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, Self

import structlog
from slack_sdk.errors import SlackApiError
from slack_sdk.web.async_client import AsyncWebClient
from slack_sdk.web.async_slack_response import AsyncSlackResponse

from bot.errors import SecretMissing
from bot.model import SecretRef
from bot.secrets import Renewing
from bot.secrets.rotating import Rotating
from bot.settings import Slack

TIMEOUT_S = 20
OPEN_SOCKET = "apps.connections.open"  # the only method that takes the app's token

# https://docs.slack.dev/reference/methods/auth.test, "Errors"
REFUSED = {"invalid_auth", "not_authed", "token_expired", "token_revoked", "account_inactive"}

log = structlog.get_logger()


class _Token:
    """One token. What it is refused is asked once more where there is another one meanwhile."""

    def __init__(self, name: str, source: Rotating, values: tuple[str, ...]) -> None:
        self._name = name
        self._source = source
        self._values = values

    @classmethod
    async def read(cls, name: str, reference: SecretRef, secrets: Renewing) -> Self:
        """As it is now. Raises SecretMissing."""
        source = Rotating(secrets, reference)
        return cls(name, source, await source.now())

    @property
    def text(self) -> str:
        """The token itself."""
        return self._values[0].strip()

    async def lend(self, ask: Callable[[str], Awaitable[AsyncSlackResponse]]) -> AsyncSlackResponse:
        """Ask with the token. Raises what *ask* raises."""
        used = self._values
        try:
            return await ask(self.text)
        except SlackApiError as error:
            if not _is_about_the_token(error) or not await self._is_replaced(used):
                raise
        return await ask(self.text)

    async def _is_replaced(self, refused: tuple[str, ...]) -> bool:
        """Whether there is another one than that. Where it cannot be read the old one stays: it may be let in again."""
        try:
            await self._source.replaced(refused)
            self._values = await self._source.now()
        except SecretMissing as missing:
            log.warning("Slack refuses a token, and no newer one can be read", token=self._name, reason=missing.reason)
        return self._values != refused


class SlackClient(AsyncWebClient):
    """Asks as the bot, and opens sockets as the app."""

    def __init__(self, bot: _Token, app: _Token, *, api_url: str) -> None:
        # The reporters retry by themselves, and look before they post again.
        super().__init__(token=bot.text, base_url=api_url, timeout=TIMEOUT_S, retry_handlers=[])
        self._bot = bot
        self._app = app

    @classmethod
    async def open(cls, settings: Slack, secrets: Renewing) -> Self:
        """Read the tokens; nothing is sent yet. Raises SecretMissing."""
        bot = await _Token.read("slack.bot_token", settings.bot_token, secrets)
        app = await _Token.read("slack.app_token", settings.app_token, secrets)
        return cls(bot, app, api_url=settings.api_url)

    @property
    def app_token(self) -> str:
        """The app's token as it was read last."""
        return self._app.text

    async def api_call(self, api_method: str, **arguments: Any) -> AsyncSlackResponse:
        """See `AsyncWebClient.api_call`. Raises SlackApiError where the present token is refused too."""
        call = super().api_call

        async def as_bot(token: str) -> AsyncSlackResponse:
            self.token = token
            return await call(api_method, **arguments)

        async def as_app(token: str) -> AsyncSlackResponse:
            # The SDK's sockets ask with the token that they were made with.
            return await call(api_method, **{**arguments, "params": {**arguments["params"], "token": token}})

        return await (self._app.lend(as_app) if api_method == OPEN_SOCKET else self._bot.lend(as_bot))


def _is_about_the_token(error: SlackApiError) -> bool:
    answer = error.response
    return isinstance(answer, AsyncSlackResponse) and answer.get("error") in REFUSED
