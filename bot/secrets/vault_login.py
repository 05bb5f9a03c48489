"""The bot's own token of Vault's: had by a login, renewed before its end, or had anew."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Protocol

from bot.errors import SecretMissing
from bot.model import AppRoleAuth, KubernetesAuth, SecretRef, TokenAuth, Vault
from bot.secrets.keeping import USED_UP, Away
from bot.secrets.vault_wire import Answer, VaultWire
from bot.tasks import Tasks

FOREVER = float("inf")
RENEW_S = 10.0  # between two tries to renew a token
CANCEL_S = 1.0


class Here(Protocol):
    """Where what the login takes lies: on this machine."""

    async def resolve(self, ref: SecretRef) -> str:
        """Raises SecretMissing."""


@dataclass(frozen=True, slots=True)
class Token:
    """A token, and until when it is good."""

    text: str = field(repr=False)
    worn: float  # by the clock: renew it from here on
    ends: float
    renewable: bool
    ours: bool  # we logged in for it, and may give it back


class VaultLogin:
    """Keeps a token at hand. *on_new* is called when the former one is gone, and with it the leases it took."""

    def __init__(
        self,
        settings: Vault,
        here: Here,
        wire: VaultWire,
        *,
        clock: Callable[[], float],
        sleep: Callable[[float], Awaitable[None]],
        on_new: Callable[[], None],
    ) -> None:
        self._auth = settings.auth
        self._here = here
        self._wire = wire
        self._clock = clock
        self._sleep = sleep
        self._on_new = on_new
        self._token: Token | None = None
        self._busy = asyncio.Lock()
        self._tasks = Tasks(on_error=lambda _name, _error: None)  # it dies of nothing that the next use would not tell

    async def token(self) -> Token:
        """A token that is good now. Raises SecretMissing, or Away."""
        async with self._busy:
            held = self._token
            if held and self._clock() < held.worn:
                return held
            try:
                self._token = await self._renewed(held) if held and held.renewable else None
                self._token = self._token or await self._log_in()
            except Away:
                if held and self._clock() < held.ends:
                    self._token = held
                    return held
                raise
            if not self._tasks and self._token.ends != FOREVER:
                self._tasks.start(self._keep_alive(), name="keep Vault's token alive")
            return self._token

    async def _keep_alive(self) -> None:
        """Renew or replace the token before its end, also while nobody asks for a secret."""
        while held := self._token:
            await self._sleep(max(held.worn - self._clock(), RENEW_S))
            with suppress(Away, SecretMissing):  # told to who needs a secret
                await self.token()

    async def replace(self, refused: Token) -> bool:
        """After Vault refused *refused*: whether there is another token now, because that one was dead."""
        if (await self._wire.ask("GET", "auth/token/lookup-self", token=refused.text)).status == 200:
            return False  # it lives, so that it was not for the token
        async with self._busy:
            if self._token is refused:
                self._token = None
        return (await self.token()).text != refused.text

    async def leave(self) -> None:
        """Give a token back that we logged in for; what it leased ends with it."""
        await self._tasks.cancel(CANCEL_S)
        token, self._token = self._token, None
        if token and token.ours:
            with suppress(Away):  # it ends by itself
                await self._wire.ask("POST", "auth/token/revoke-self", token=token.text)

    async def _renewed(self, held: Token) -> Token | None:
        """The token with a new end; None where Vault does not lengthen its life any more."""
        answer = await self._wire.ask("POST", "auth/token/renew-self", token=held.text, body={})
        if answer.status != 200:
            return None
        token = self._read(answer, held.text, ours=held.ours)
        return token if token.ends > held.ends else None

    async def _log_in(self) -> Token:
        match self._auth:
            case TokenAuth():
                token = await self._look_up(await self._here.resolve(self._auth.token), self._auth.token)
            case AppRoleAuth():
                role_id = await self._here.resolve(self._auth.role_id)
                secret_id = await self._here.resolve(self._auth.secret_id)
                cure = f"check {self._auth.role_id.text} and {self._auth.secret_id.text}, which may have ended or been used up"
                token = await self._exchange(
                    f"auth/{self._auth.mount}/login", {"role_id": role_id, "secret_id": secret_id}, cure
                )
            case KubernetesAuth():
                jwt = await self._here.resolve(self._auth.jwt)
                cure = f"is the role {self._auth.role} bound to the bot's service account and namespace?"
                token = await self._exchange(
                    f"auth/{self._auth.mount}/login", {"role": self._auth.role, "jwt": jwt}, cure
                )
        self._on_new()
        return token

    async def _look_up(self, text: str, ref: SecretRef) -> Token:
        answer = await self._wire.ask("GET", "auth/token/lookup-self", token=text)
        if answer.status != 200:
            raise SecretMissing(
                f"{self._wire.name} refuses the token of {ref.text}: it has ended; put a new one there."
            )
        return self._read(answer, text, ours=False)

    async def _exchange(self, path: str, sent: dict[str, str], cure: str) -> Token:
        answer = await self._wire.ask("POST", path, body=sent)
        text = answer.part("auth").get("client_token") if answer.status == 200 else None
        if not isinstance(text, str) or not text:
            said = answer.said if not any(value in answer.said for value in sent.values()) else ""
            raise SecretMissing(f"{self._wire.name} refuses our login at {path} ({said or answer.status}): {cure}.")
        return self._read(answer, text, ours=True)

    def _read(self, answer: Answer, text: str, *, ours: bool) -> Token:
        """The token's life, from a login's or renewal's `auth` or from a look-up's `data`."""
        told = answer.part("auth") or answer.part("data")
        lasts = told.get("lease_duration", told.get("ttl", 0))
        now = self._clock()
        if not isinstance(lasts, int) or lasts <= 0:  # Vault's way to say that it has no end
            return Token(text, FOREVER, FOREVER, renewable=False, ours=ours)
        return Token(text, now + lasts * USED_UP, now + lasts, renewable=told.get("renewable") is True, ours=ours)
