"""Secrets of AWS Secrets Manager."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable
from contextlib import AsyncExitStack
from typing import Any

from aiobotocore.config import AioConfig
from botocore.exceptions import BotoCoreError, ClientError

from bot.errors import SecretMissing
from bot.model import AwsSecrets
from bot.references import Place
from bot.secrets import Renewing
from bot.secrets.keeping import Away, Found, Keeper, part_of
from bot.secrets.signing import keys_of, session_of

CONNECT_S = 2.0
READ_S = 3.0
ATTEMPTS = 2

_CURES = {
    "ResourceNotFoundException": "has no such secret: check its name and the region",
    "AccessDeniedException": "does not let the bot read it: allow secretsmanager:GetSecretValue on it",
    "DecryptionFailure": "cannot decrypt it: allow the bot kms:Decrypt with its key",
    "InvalidRequestException": "does not give it out: it is marked for deletion, or has no current version",
    "UnrecognizedClientException": "does not know the bot's credentials: check access_key and secret_key of awssm",
    "InvalidSignatureException": "refuses the bot's signature: check secret_key of awssm and this machine's clock",
    "ExpiredTokenException": "refuses the bot's credentials, which have ended: renew them",
    "InvalidClientTokenId": "does not know the bot's credentials: check access_key and secret_key of awssm",
}


class AwsProvider:
    """Finds ``awssm://name#key``. Fulfils `bot.secrets.Provider`."""

    def __init__(self, settings: AwsSecrets, here: Renewing, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._settings = settings
        self._keys = keys_of(here, settings.access_key, settings.secret_key)
        self._closing = AsyncExitStack()
        self._clients: dict[str, Any] = {}  # by region
        self._opening = asyncio.Lock()
        self._keeper = Keeper("AWS Secrets Manager", self._ask, clock=clock)

    async def find(self, place: Place) -> str:
        """See `bot.secrets.Provider.find`."""
        text = (await self._keeper.find(self._path(place))).values
        if not place.key:
            return str(text)
        values = _mapping(str(text))
        if values is None:
            raise SecretMissing(f"The secret {place} is no JSON mapping: leave `#{place.key}` out for all of it.")
        return part_of(values, place)

    def forget(self, place: Place) -> None:
        """See `bot.secrets.Provider.forget`."""
        self._keeper.forget(self._path(place))

    async def check(self) -> list[str]:
        """Ask for a secret that nobody has: who is let in is told so."""
        region = self._settings.region
        try:
            await self._ask(f"{region} capturebot-doctor", None)
        except Away as away:
            return [f"fault: {away}"]
        except SecretMissing as missing:
            if not any(
                _CURES[code] in missing.reason for code in ("ResourceNotFoundException", "AccessDeniedException")
            ):
                return [f"fault: {missing.reason}"]
        return [f"ok: AWS Secrets Manager ({region}) knows our credentials"]

    async def close(self) -> None:
        """Close the connections."""
        await self._closing.aclose()

    def _path(self, place: Place) -> str:
        return f"{place.region or self._settings.region} {place.path}"

    async def _ask(self, path: str, worn: Found | None) -> Found:
        del worn  # there are no leases
        region, _, name = path.partition(" ")
        where = f"AWS Secrets Manager ({region})"
        code, why = "", ""
        try:
            client = self._clients.get(region) or await self._client(region)
            answer = await client.get_secret_value(SecretId=name)
        except ClientError as error:
            code = str(error.response.get("Error", {}).get("Code"))
        except (BotoCoreError, ValueError, OSError) as error:
            why = str(error)
        else:
            if "SecretString" in answer:
                return Found(values=answer["SecretString"])
            raise SecretMissing(f"The secret awssm://{name} is binary: a secret is kept as text.")
        if code in _CURES:
            raise SecretMissing(f"The secret awssm://{name}: {where} {_CURES[code]}.")
        raise Away(
            f"{where} gave no answer about {name} ({code or why}) — check awssm, credentials and the network",
            everywhere=not code,
        )

    async def _client(self, region: str) -> Any:
        async with self._opening:
            if region not in self._clients:
                config = AioConfig(
                    connect_timeout=CONNECT_S, read_timeout=READ_S, retries={"total_max_attempts": ATTEMPTS}
                )
                client = session_of(self._keys, region=region).client(
                    "secretsmanager", endpoint_url=self._settings.endpoint_url, config=config
                )
                self._clients[region] = await self._closing.enter_async_context(client)
            return self._clients[region]


def _mapping(text: str) -> dict[str, Any] | None:
    try:
        values = json.loads(text)
    except ValueError:
        return None
    return values if isinstance(values, dict) else None
