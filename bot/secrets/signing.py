"""AWS requests, signed with keys as they are when each is signed."""

from __future__ import annotations

import aioboto3
from aiobotocore.credentials import AioCredentials
from aiobotocore.session import get_session
from botocore.credentials import ReadOnlyCredentials

from bot.model import SecretRef
from bot.secrets import Renewing
from bot.secrets.rotating import Rotating


def keys_of(secrets: Renewing, access_key: SecretRef | None, secret_key: SecretRef | None) -> Rotating | None:
    """The pair of keys; None where the SDK finds credentials itself, which it renews itself."""
    return Rotating(secrets, access_key, secret_key) if access_key and secret_key else None


def session_of(keys: Rotating | None, *, region: str) -> aioboto3.Session:
    """A session whose clients sign with *keys*. Their calls raise SecretMissing, besides what the SDK raises."""
    session = get_session()
    if keys:
        session.register_component("credential_provider", _Credentials(keys))
    return aioboto3.Session(botocore_session=session, region_name=region)


class _Credentials(AioCredentials):  # type: ignore[misc]  # ships no types
    """Credentials, and where they come from, as aiobotocore asks for both."""

    def __init__(self, keys: Rotating) -> None:
        super().__init__(access_key="", secret_key="", method="capturebot")
        self._keys = keys

    async def load_credentials(self) -> _Credentials:
        return self

    async def get_frozen_credentials(self) -> ReadOnlyCredentials:
        """Called for each request and each of its attempts."""
        access_key, secret_key = await self._keys.now()
        return ReadOnlyCredentials(access_key, secret_key, None)
