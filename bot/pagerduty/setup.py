"""`capturebot pagerduty setup` and what `capturebot doctor pagerduty` looks at: that PagerDuty calls the bot.

Lines of "ok: …", "warn: … — cure" and "fault: … — cure", as everywhere in the doctor.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Awaitable, Callable, Iterable
from pathlib import Path
from urllib.parse import urlsplit

import httpx
from prometheus_client.parser import text_string_to_metric_families

from bot.errors import DeliveryFailed, UserError
from bot.model import Service
from bot.pagerduty.reception import PING, UNSIGNED
from bot.pagerduty.subscriptions import Subscription, Subscriptions, calling
from bot.settings import WEBHOOKS

PING_S = 15.0  # for a test event to arrive
WEB_S = 3.0  # for the bot's own metrics
ANY_HOST = {"0.0.0.0": "127.0.0.1", "[::]": "[::1]"}  # noqa: S104  nothing is bound: where a server is asked that was
LOOK_S = 0.25  # between two looks for it
SECRETS_BYTES = 64 * 1024

SETUP = "`capturebot pagerduty setup` mends it"


class SecretFile:
    """A file that holds the secrets of several subscriptions, one a line, and is closed to others."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def open(self) -> None:
        """Make it where it is missing. Raises UserError where it cannot take a secret."""
        try:
            descriptor = os.open(self.path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
            os.fchmod(descriptor, 0o600)
            os.close(descriptor)
        except OSError as error:
            raise UserError(
                f"The secret's file {self.path} cannot be written: {error.strerror}.",
                cure="Name one with --secret-file that this user can write.",
            ) from error

    @property
    def is_empty(self) -> bool:
        """There is no secret in it."""
        with self.path.open("rb") as file:
            return not file.read(SECRETS_BYTES).strip()

    def add(self, secret: str) -> None:
        """Keep one more, for good. Raises OSError."""
        with self.path.open("ab") as file:
            file.write(f"{secret}\n".encode())
            file.flush()
            os.fsync(file.fileno())


async def set_up(
    subscriptions: Subscriptions, services: Iterable[Service], url: str, file: SecretFile, *, renew: bool = False
) -> list[str]:
    """Have PagerDuty call *url* about each of *services*; each secret goes into *file* and nowhere else.

    With *renew* subscriptions are made anew, for secrets that were lost. Raises UserError.
    """
    _check(url)
    file.open()
    lines = []
    for service in services:
        try:
            lines += await _set_up(subscriptions, service, url, file, renew=renew)
        except DeliveryFailed as failure:
            lines.append(_fault(service.name, failure))
    return lines


async def _set_up(
    subscriptions: Subscriptions, service: Service, url: str, file: SecretFile, *, renew: bool
) -> list[str]:
    ours = calling(await subscriptions.of(service.pagerduty), url)
    if not ours or renew:
        made, secret = await subscriptions.make(service.pagerduty, url)
        try:
            file.add(secret)
        except OSError as error:
            await subscriptions.delete(made)  # nobody would ever know its secret
            return [f"fault: {service.name}: {file.path} cannot be written ({error.strerror}) — free its disk"]
        for one in ours:
            await subscriptions.delete(one)
        return [f"ok: {service.name}: PagerDuty calls {url} about {service.pagerduty} (subscription {made.id})"]
    if file.is_empty:
        what = f"subscription {ours[0].id} calls {url}, but its secret is not in {file.path}"
        return [f"fault: {service.name}: {what} — name the file that has it, or make it anew with --renew"]
    lines = []
    for one in ours:
        if why := one.fault:
            await subscriptions.mend(one)
        lines.append(
            f"ok: {service.name}: subscription {one.id} " + (f"{why}: mended" if why else "is as it should be")
        )
    return lines


async def examine(
    subscriptions: Subscriptions,
    services: Iterable[Service],
    *,
    arrived: Callable[[], Awaitable[dict[str, int] | None]],
    ping_s: float = PING_S,
) -> list[str]:
    """Whether PagerDuty calls the bot about each of *services*.

    *arrived* counts the test events that came to the bot by the status they were answered with; None where it does not
    run here, and then none is sent.
    """
    lines: list[str] = []
    found = []
    for service in services:
        try:
            ours = [
                one
                for one in await subscriptions.of(service.pagerduty)
                if urlsplit(one.delivery_method.url).path.endswith(WEBHOOKS)
            ]
        except DeliveryFailed as failure:
            return [*lines, _fault(service.name, failure)]
        if not ours:
            lines.append(f"fault: {service.name}: PagerDuty does not call {WEBHOOKS} about it — {SETUP}")
        for one in ours:
            why = one.fault
            lines.append(
                f"fault: {service.name}: subscription {one.id} {why} — {SETUP}"
                if why
                else f"ok: {service.name}: PagerDuty calls {one.delivery_method.url} about it"
            )
            if not why:
                found.append(one)
    return lines + [await _ping(subscriptions, one, arrived, ping_s) for one in found]


async def arrived(web: str | None) -> dict[str, int] | None:
    """How many test events the bot at *web* took, and calls it refused, by status; None where it does not answer."""
    if web is None:
        return None
    host, _, port = web.rpartition(":")
    try:
        async with httpx.AsyncClient(timeout=WEB_S) as client:
            answer = await client.get(f"http://{ANY_HOST.get(host, host)}:{port}/metrics")
    except httpx.HTTPError:
        return None
    counts: dict[str, int] = {}
    for family in text_string_to_metric_families(answer.text):
        for sample in family.samples:
            if sample.name == "capturebot_webhooks_total" and sample.labels["what"] in (PING, UNSIGNED):
                counts[sample.labels["status"]] = int(sample.value)
    return counts


async def _ping(
    subscriptions: Subscriptions,
    one: Subscription,
    arrived: Callable[[], Awaitable[dict[str, int] | None]],
    ping_s: float,
) -> str:
    url = one.delivery_method.url
    if (before := await arrived()) is None:
        return f"warn: no test event was sent to {url} — the bot does not run here; ask again where `web` answers"
    try:
        await subscriptions.ping(one)
    except DeliveryFailed as failure:
        return _fault(url, failure)
    clock = asyncio.get_running_loop().time
    late, after = clock() + ping_s, await arrived()
    while after in (None, before):
        if clock() > late:
            return f"fault: a test event to {url} did not arrive within {ping_s:g} s — let PagerDuty reach that address"
        await asyncio.sleep(LOOK_S)
        after = await arrived()
    if after and after.get("202", 0) > before.get("202", 0):
        return f"ok: a test event to {url} arrived, and its signature is right"
    return (
        f"fault: a test event to {url} arrived, signed with a secret that is not known — "
        "put the secret of the subscription where pagerduty.webhook_secrets points, or `setup --renew`"
    )


def _check(url: str) -> None:
    parts = urlsplit(url)
    if parts.scheme != "https" and parts.hostname not in {"127.0.0.1", "localhost", "::1"}:
        raise UserError("PagerDuty calls https addresses only.", cure=f"Write --url https://HOST{WEBHOOKS}.")
    if not parts.hostname or not parts.path.endswith(WEBHOOKS):
        raise UserError(f"`{url}` does not end with {WEBHOOKS}.", cure=f"Write --url https://HOST{WEBHOOKS}.")


def _fault(what: str, failure: DeliveryFailed) -> str:
    cure = f" — {failure.cure}" if failure.cure else ""
    return f"fault: {what}: {failure.reason.rstrip('.')}{cure}"
