"""Secrets of HashiCorp Vault and OpenBao: the key-value engine in both versions, and engines that give out leases.

Which engine lies at a path is asked of Vault itself (``sys/internal/ui/mounts``), as its own command line does.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Any

from bot.errors import SecretMissing
from bot.model import AppRoleAuth, KubernetesAuth, Mount, Vault
from bot.references import Place
from bot.secrets.keeping import Away, Found, Keeper, part_of
from bot.secrets.vault_login import FOREVER, Here, VaultLogin
from bot.secrets.vault_wire import Answer, VaultWire

SHORT = 1 / 3  # a lease that is lengthened by less than this part of what it had nears its last end


class VaultSecrets:
    """Finds ``vault://mount/path#key``. Fulfils `bot.secrets.Provider`."""

    def __init__(
        self,
        settings: Vault,
        here: Here,
        *,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._settings = settings
        self._clock = clock
        self._wire = VaultWire(settings)
        self._keeper = Keeper(self._wire.name, self._ask, clock=clock)
        self._login = VaultLogin(
            settings, here, self._wire, clock=clock, sleep=sleep, on_new=self._keeper.forget_leases
        )
        self._mounts = {f"{name.strip('/')}/": kind for name, kind in settings.mounts.items()}

    async def find(self, place: Place) -> str:
        """See `bot.secrets.Provider.find`."""
        return part_of((await self._keeper.find(place.path)).values, place)

    def forget(self, place: Place) -> None:
        """See `bot.secrets.Provider.forget`."""
        self._keeper.forget(place.path)

    async def check(self) -> list[str]:
        """See `bot.secrets.Provider.check`."""
        try:
            token = await self._login.token()
        except (Away, SecretMissing) as error:
            return [f"fault: {error}"]
        way = {AppRoleAuth: "AppRole", KubernetesAuth: "Kubernetes"}.get(type(self._settings.auth), "a token")
        lines = [f"ok: {self._wire.name} lets us in by {way}"]
        if token.ends == FOREVER:
            lines.append("warn: the token for vault never ends — take AppRole or Kubernetes, or a token with a period")
        elif not token.renewable and not token.ours:
            left = f"{(token.ends - self._clock()) / 3600:.1f} h"
            lines.append(f"warn: the token for vault ends in {left} and cannot be renewed — see that it is replaced")
        return lines

    async def close(self) -> None:
        """Give back the token that we logged in for, and close the connections."""
        await self._login.leave()
        await self._wire.close()

    async def _ask(self, path: str, worn: Found | None) -> Found:
        if worn and worn.lease and (renewed := await self._renewed(worn)):
            return renewed
        mount, kind = await self._mount(path)
        api = path
        if kind is Mount.KV2 and not path.startswith(f"{mount}data/"):
            api = f"{mount}data/{path.removeprefix(mount)}"
        answer = await self._call("GET", api)
        if answer.status == 403:
            raise SecretMissing(
                f"{self._wire.name} does not let the bot read {path}: give its policy"
                f' `path "{api}" {{ capabilities = ["read"] }}`.'
            )
        values: object = answer.part("data")
        if kind is Mount.KV2:
            values = answer.part("data").get("data")  # null where the latest version was deleted
        if answer.status != 200 or not isinstance(values, dict) or not values:
            raise SecretMissing(
                f"{self._wire.name} has no secret at {path}{_words(answer)}: check the mount and the path."
            )
        return _found(values, answer)

    async def _renewed(self, worn: Found) -> Found | None:
        """The answer with a longer lease; None where it is better to take another one."""
        answer = await self._call("POST", "sys/leases/renew", {"lease_id": worn.lease})
        lasts = answer.body.get("lease_duration")
        if answer.status != 200 or not isinstance(lasts, int) or lasts < (worn.lease_s or 0) * SHORT:
            return None
        return Found(values=worn.values, lease_s=worn.lease_s and float(lasts), lease=worn.lease)

    async def _mount(self, path: str) -> tuple[str, Mount]:
        """Where the engine of *path* is mounted, with a slash at its end, and what it is."""
        for name, kind in self._mounts.items():
            if path.startswith(name):
                return name, kind
        answer = await self._call("GET", f"sys/internal/ui/mounts/{path}")
        told = answer.part("data")
        mounted, options = told.get("path"), told.get("options") or {}
        if answer.status != 200 or not isinstance(mounted, str) or not path.startswith(mounted):
            raise SecretMissing(
                f"{self._wire.name} has nothing at {path} that the bot may read: check the mount, give the bot's policy"
                " `read` there, or say under vault.mounts what the mount is."
            )
        version = {"2": Mount.KV2}.get(str(options.get("version")), Mount.KV1)
        self._mounts[mounted] = version if told.get("type") == "kv" else Mount.OTHER
        return mounted, self._mounts[mounted]

    async def _call(self, method: str, path: str, body: dict[str, str] | None = None) -> Answer:
        """Ask with a token that is good; one that was dead after all is replaced once."""
        token = await self._login.token()
        answer = await self._wire.ask(method, path, token=token.text, body=body)
        if answer.status == 403 and await self._login.replace(token):
            token = await self._login.token()
            answer = await self._wire.ask(method, path, token=token.text, body=body)
        return answer


def _found(values: dict[str, Any], answer: Answer) -> Found:
    lease, lasts = answer.body.get("lease_id"), answer.body.get("lease_duration")
    # Version 1 of key-value tells a duration without a lease, as advice only.
    if not isinstance(lease, str) or not lease or not isinstance(lasts, int) or lasts <= 0:
        return Found(values=values)
    return Found(values=values, lease_s=float(lasts), lease=lease if answer.body.get("renewable") else "")


def _words(answer: Answer) -> str:
    return f" ({answer.said})" if answer.said else ""
