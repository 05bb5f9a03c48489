"""Secrets of Vault, against a stand-in that is as strict as the real one."""

from __future__ import annotations

import asyncio
import ssl
import traceback
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from bot.errors import SecretMissing
from bot.model import AppRoleAuth, KubernetesAuth, Mount, SecretRef, TokenAuth, Vault
from bot.playground.certificates import make_certificates
from bot.secrets import Secrets
from bot.secrets.keeping import KEPT_S, OUTAGE_S, PAUSE_S
from bot.secrets.vault import VaultSecrets
from bot.secrets.vault_wire import ANSWER_BYTES
from tests.vault import VaultStandIn

pytestmark = pytest.mark.thorough

WITHIN_S = 5.0
VALUE = "hunter2-of-vault"
ORDERS = "vault://secret/orders/db#password"
APPROLE = AppRoleAuth(role_id=SecretRef("env:ROLE_ID"), secret_id=SecretRef("env:SECRET_ID"))
TOKEN = TokenAuth(token=SecretRef("env:TOKEN"))


class Bench:
    """A stand-in, and secrets that come from it."""

    def __init__(self, vault: VaultStandIn, settings: Vault, environ: dict[str, str]) -> None:
        self.vault = vault
        self.environ = environ
        self.secrets = Secrets(environ)
        store = VaultSecrets(settings, self.secrets, clock=vault.clock, sleep=self.sleep)
        self.secrets.join("vault", store)
        self.asleep: list[tuple[float, asyncio.Event]] = []  # until when, and what wakes it: there is one sleeper
        self._slept = asyncio.Event()

    async def sleep(self, seconds: float) -> None:
        """Until `pass_time` gets there."""
        wake = asyncio.Event()
        self.asleep.append((self.vault.clock.now + seconds, wake))
        self._slept.set()
        await wake.wait()

    async def pass_time(self, seconds: float) -> None:
        """Move the clock, and let who wakes meanwhile do its work at its own time."""
        end = self.vault.clock.now + seconds
        while self.asleep and self.asleep[0][0] <= end:
            self._slept.clear()
            self.vault.clock.now, wake = self.asleep.pop(0)
            wake.set()
            await asyncio.wait_for(self._slept.wait(), WITHIN_S)
        self.vault.clock.now = end

    async def resolve(self, text: str = ORDERS) -> str:
        """The value."""
        return await self.secrets.resolve(SecretRef(text))

    async def refusal(self, text: str = ORDERS) -> str:
        """Why there is none; no secret is in any shape of the error."""
        with pytest.raises(SecretMissing) as caught:
            await self.resolve(text)
        error: BaseException | None = caught.value
        told = ""
        while error is not None:
            told += "".join(traceback.format_exception(error)) + repr(error) + repr(vars(error))
            error = error.__context__
        for secret in (VALUE, *self.environ.values(), *self.vault.tokens):
            assert secret not in told
        return caught.value.reason

    def asked(self, path: str) -> int:
        """How often *path* was asked for."""
        return sum(line.endswith(f" {path}") for line in self.vault.asked)


@asynccontextmanager
async def opened(
    auth: TokenAuth | AppRoleAuth | KubernetesAuth = APPROLE, *, settings: dict[str, Any] | None = None, **state: Any
) -> AsyncIterator[Bench]:
    """A bench whose stand-in has one secret and a token."""
    state = {"values": {"secret/orders/db": {"password": VALUE, "port": 3306, "users": {"app": "inner-value"}}}} | state
    async with VaultStandIn.serving(**state) as vault:
        environ = {"ROLE_ID": "role-id-1", "SECRET_ID": "secret-id-1", "TOKEN": vault.grant("hvs.root", ttl_s=3600)}
        bench = Bench(vault, Vault(address=vault.url, auth=auth, **settings or {}), environ)
        try:
            yield bench
        finally:
            await bench.secrets.close()


# --- reading ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "value"),
    [
        (ORDERS, VALUE),
        ("vault://secret/data/orders/db#password", VALUE),
        ("vault://secret/orders/db#port", "3306"),
        ("vault://secret/orders/db#users/app", "inner-value"),
        ("vault://old/orders#a/b", "of-version-1"),
        ("vault://team/kv/x#key", "of-a-longer-mount"),
    ],
)
async def test_both_versions_of_key_value_are_read(text: str, value: str) -> None:
    """Vault says which it is, and where the mount ends."""
    values = {
        "secret/orders/db": {"password": VALUE, "port": 3306, "users": {"app": "inner-value"}},
        "old/orders": {"a/b": "of-version-1"},
        "team/kv/x": {"key": "of-a-longer-mount"},
    }
    async with opened(values=values) as bench:
        assert await bench.resolve(text) == value
        assert value.encode() in bench.secrets.known()


async def test_a_mount_that_the_token_may_not_ask_about_is_configured() -> None:
    """Without that the error says so."""
    async with opened(asks_mounts=False, settings={"mounts": {"secret": Mount.KV2}}) as bench:
        assert await bench.resolve() == VALUE
    async with opened(asks_mounts=False) as bench:
        assert "say under vault.mounts what the mount is" in await bench.refusal()


async def test_a_namespace_is_sent_with_everything() -> None:
    """The login too; without it nothing is found."""
    async with opened(namespace="team-a", settings={"namespace": "team-a"}) as bench:
        assert await bench.resolve() == VALUE
    async with opened(namespace="team-a") as bench:
        assert "refuses our login at auth/approle/login" in await bench.refusal()


async def test_what_is_not_there_is_named() -> None:
    """Path or key, with what there is, and never a value."""
    values = {"secret/orders/db": {"password": VALUE, "user": "u", "flag": True}, "secret/gone": None}
    async with opened(values=values) as bench:
        no_key = await bench.refusal("vault://secret/orders/db#pasword")
        no_text = await bench.refusal("vault://secret/orders/db#flag")
        no_path = await bench.refusal("vault://secret/orders/nosuch#password")
        deleted = await bench.refusal("vault://secret/gone#password")
        no_mount = await bench.refusal("vault://nosuch/x#password")

    assert no_key == "The secret vault://secret/orders/db#pasword has no such key: it has flag, password, user."
    assert "is no text" in no_text
    assert "has no secret at secret/orders/nosuch: check the mount and the path." in no_path
    assert "has no secret at secret/gone" in deleted
    assert "has nothing at nosuch/x that the bot may read" in no_mount


async def test_a_policy_that_denies_is_told_with_the_line_that_is_missing() -> None:
    """And it costs no login, for the token is good."""
    async with opened(readable=["secret/data/other"]) as bench:
        reason = await bench.refusal()

        assert reason.endswith('`path "secret/data/orders/db" { capabilities = ["read"] }`.')
        assert bench.asked("auth/approle/login") == 1


# --- logging in ---------------------------------------------------------------------------------


async def test_a_pod_logs_in_with_its_service_account(tmp_path: Path) -> None:
    """The token's file is read at each login, for the kubelet replaces it."""
    path = tmp_path / "token"
    path.touch(mode=0o600)
    path.write_text("jwt-of-the-pod\n")
    async with opened(KubernetesAuth(role="capturebot", jwt=SecretRef(f"file:{path}"))) as bench:
        assert await bench.resolve() == VALUE
        bench.vault.jwt = "another"
        bench.vault.tokens.clear()
        bench.vault.clock.now += KEPT_S
        assert "is the role capturebot bound to the bot's service account" in await bench.refusal()
        path.write_text("another")
        bench.vault.clock.now += PAUSE_S
        assert await bench.resolve() == VALUE


async def test_a_wrong_secret_id_is_told_and_not_shown() -> None:
    """Vault's own words are, as long as they do not hold it."""
    async with opened() as bench:
        bench.environ["SECRET_ID"] = "hunter2-wrong"

        reason = await bench.refusal()

    assert (
        "refuses our login at auth/approle/login (invalid role or secret ID): check env:ROLE_ID and env:SECRET_ID"
        in reason
    )


async def test_a_token_is_renewed_before_its_end() -> None:
    """Also while nobody asks, until Vault lengthens it no more: then there is a new login."""
    async with opened(token_ttl_s=900, token_max_s=2000) as bench:
        assert await bench.resolve() == VALUE
        await bench.pass_time(1500)
        before = bench.asked("auth/approle/login")
        await bench.pass_time(3000)

        assert await bench.resolve() == VALUE
        assert before == 1
        assert bench.asked("auth/token/renew-self") >= 4
        assert bench.asked("auth/approle/login") == 3


async def test_a_token_of_somebody_elses_is_kept_alive() -> None:
    """A night without any incident does not end it."""
    async with opened(TOKEN) as bench:
        assert await bench.resolve() == VALUE

        await bench.pass_time(12 * 3600)

        assert await bench.resolve() == VALUE
        assert bench.asked("auth/token/renew-self") >= 12


async def test_a_token_that_cannot_be_renewed_is_replaced_before_its_end() -> None:
    """A batch token, for example."""
    async with opened(token_ttl_s=90, token_renewable=False) as bench:
        for _ in range(3):
            assert await bench.resolve() == VALUE
            bench.vault.clock.now += 61

        assert bench.asked("auth/token/renew-self") == 0
        assert bench.asked("auth/approle/login") == 3


@pytest.mark.parametrize("end", ["revoked", "used up"])
async def test_a_token_that_died_is_replaced_within_the_same_question(end: str) -> None:
    """Revoked, or good for a number of uses only."""
    async with opened(token_uses=None if end == "revoked" else 2) as bench:
        assert await bench.resolve() == VALUE
        if end == "revoked":
            bench.vault.tokens.clear()
        bench.vault.clock.now += KEPT_S

        assert await bench.resolve() == VALUE
        assert bench.asked("auth/approle/login") == 2


async def test_a_token_of_somebody_elses_is_read_anew_when_it_is_refused() -> None:
    """As Vault Agent replaces it in its file; it is never revoked by us."""
    async with opened(TOKEN) as bench:
        assert await bench.resolve() == VALUE
        bench.vault.tokens.clear()
        bench.vault.clock.now += KEPT_S
        dead = await bench.refusal()
        bench.environ["TOKEN"] = bench.vault.grant("hvs.newer", ttl_s=3600)
        bench.vault.clock.now += PAUSE_S
        again = await bench.resolve()
        await bench.secrets.close()

    assert "refuses the token of env:TOKEN: it has ended; put a new one there." in dead
    assert again == VALUE
    assert "hvs.newer" in bench.vault.tokens


async def test_the_bot_gives_its_token_back() -> None:
    """With everything that it leased."""
    async with opened() as bench:
        await bench.resolve()
        await bench.secrets.close()

        assert [*bench.vault.tokens] == ["hvs.root"]


# --- keeping ------------------------------------------------------------------------------------


async def test_a_value_is_kept_for_a_minute_and_then_asked_for_again() -> None:
    """So that a rotated one is found without a restart; who was refused with it asks at once."""
    async with opened() as bench:
        first = await bench.resolve()
        bench.vault.values["secret/orders/db"] = {"password": "newer"}
        kept = await bench.resolve()
        bench.secrets.forget(SecretRef(ORDERS))
        forgotten = await bench.resolve()
        bench.vault.values["secret/orders/db"] = {"password": "newest"}
        bench.vault.clock.now += KEPT_S
        later = await bench.resolve()

    assert (first, kept, forgotten, later) == (VALUE, VALUE, "newer", "newest")
    assert {VALUE.encode(), b"newer", b"newest"} <= set(bench.secrets.known())


@pytest.mark.parametrize("trouble", ["sealed", "failing"])
async def test_an_outage_is_bridged_for_a_bounded_time(trouble: str) -> None:
    """The last value serves, then the error says what is wrong with Vault, and how to mend it."""
    async with opened() as bench:
        await bench.resolve()
        setattr(bench.vault, trouble, 500 if trouble == "failing" else True)
        bench.vault.clock.now += KEPT_S
        asked = len(bench.vault.asked)
        bridged = [await bench.resolve() for _ in range(5)]
        asked = len(bench.vault.asked) - asked
        bench.vault.clock.now += OUTAGE_S - KEPT_S
        reason = await bench.refusal()
        setattr(bench.vault, trouble, 0)
        bench.vault.clock.now += PAUSE_S
        again = await bench.resolve()

    assert bridged == [VALUE] * 5
    assert asked == 1
    assert ("is sealed — unseal it" if trouble == "sealed" else "answers 500 (internal error)") in reason
    assert again == VALUE


async def test_a_store_that_is_away_is_not_asked_for_every_secret() -> None:
    """A start with many references does not wait for each."""
    async with opened(sealed=True) as bench:
        reasons = {(await bench.refusal(f"vault://secret/orders/{n}#password")).partition(": ")[2] for n in range(20)}

        assert len(bench.vault.asked) == 1
        assert len(reasons) == 1


async def test_trouble_with_one_secret_is_no_trouble_with_others() -> None:
    """A database that is down gives out no accounts, in the very incident that it is looked at in."""

    async def fail() -> dict[str, str]:
        raise RuntimeError("the database is down")

    async with opened(make=fail) as bench:
        broken = await bench.refusal(PASSWORD)

        assert "answers 500" in broken
        assert await bench.resolve() == VALUE


async def test_a_secret_that_was_removed_is_not_bridged() -> None:
    """Vault is there, and says that it is gone."""
    async with opened() as bench:
        await bench.resolve()
        bench.vault.values.clear()
        bench.vault.clock.now += KEPT_S

        assert "has no secret at secret/orders/db" in await bench.refusal()


# --- leases -------------------------------------------------------------------------------------


def accounts() -> Any:
    """Makes accounts, one after the other."""
    number = 0

    async def make() -> dict[str, str]:
        nonlocal number
        number += 1
        return {"username": f"v-capture-{number}", "password": f"password-{number}"}

    return make


USER, PASSWORD = "vault://database/creds/capture#username", "vault://database/creds/capture#password"


async def test_an_account_is_taken_once_for_both_of_its_parts() -> None:
    """Its name and its password belong together, for as long as the lease is renewed."""
    async with opened(make=accounts(), lease_ttl_s=600, lease_max_s=1800) as bench:
        seen = []
        for _ in range(4):
            seen.append((await bench.resolve(USER), await bench.resolve(PASSWORD)))
            bench.vault.clock.now += 401

    assert seen[:3] == [("v-capture-1", "password-1")] * 3
    assert bench.asked("sys/leases/renew") >= 2
    assert seen[3] in {("v-capture-1", "password-1"), ("v-capture-2", "password-2")}


async def test_a_lease_that_nears_its_last_end_is_replaced() -> None:
    """Another account is taken before the old one goes."""
    async with opened(make=accounts(), lease_ttl_s=600, lease_max_s=700) as bench:
        first = await bench.resolve(PASSWORD)
        bench.vault.clock.now += 550
        second = await bench.resolve(PASSWORD)

    assert (first, second) == ("password-1", "password-2")


async def test_a_leased_account_is_not_used_beyond_its_lease() -> None:
    """However long Vault is away."""
    async with opened(make=accounts(), lease_ttl_s=600) as bench:
        await bench.resolve(PASSWORD)
        bench.vault.sealed = True
        bench.vault.clock.now += 599
        bridged = await bench.resolve(PASSWORD)
        bench.vault.clock.now += PAUSE_S

        assert bridged == "password-1"
        assert "is sealed" in await bench.refusal(PASSWORD)


async def test_a_new_login_takes_its_own_accounts() -> None:
    """Those of a token that is gone went with it."""
    async with opened(make=accounts(), token_ttl_s=100, token_renewable=False) as bench:
        await bench.resolve(PASSWORD)
        bench.vault.clock.now += 100
        await bench.resolve(ORDERS)

        assert await bench.resolve(PASSWORD) == "password-2"


# --- what is no answer --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("raw", "said"),
    [
        ((200, "<html>a proxy</html>", ""), "refuses our login"),
        ((404, "<html>not found</html>", ""), "answers 404 as Vault does not — is vault.address right?"),
        ((307, "", "https://other.example/"), "sends us elsewhere (307) — set vault.address to the active node"),
        ((429, '{"errors":["request rejected"]}', ""), "takes no more requests for now (429)"),
        ((412, '{"errors":["required index state not present"]}', ""), "answers 412 (required index state not present)"),
        ((400, f'{{"errors":["{VALUE} secret-id-1"]}}', ""), "refuses our login at auth/approle/login (400)"),
        ((200, "[" * 100_000, ""), "refuses our login"),
        ((200, '{"auth": {"client_token": 7}}', ""), "refuses our login"),
        ((200, '{"auth": null, "data": [1]}', ""), "refuses our login"),
    ],
)  # fmt: skip
async def test_a_server_that_answers_otherwise_is_no_crash(raw: tuple[int, str, str], said: str) -> None:
    """Nothing of ours is sent on by a redirect, and nothing that was sent is said again."""
    async with opened(raw=raw) as bench:
        assert said in await bench.refusal()


async def test_an_answer_without_end_is_given_up() -> None:
    """More than the bound is not read."""
    async with opened(raw=(200, "x" * (ANSWER_BYTES + 1), "")) as bench:
        assert "answers more than 1 MiB" in await bench.refusal()


async def test_a_store_that_cannot_be_reached_is_named() -> None:
    """With its address, and what to look at."""
    async with VaultStandIn.serving() as vault:
        bench = Bench(vault, Vault(address="http://127.0.0.1:1", auth=TOKEN), {"TOKEN": "hvs.secret"})
        refused = await bench.refusal()
        await bench.secrets.close()

    assert "Vault (http://127.0.0.1:1) cannot be reached" in refused
    assert refused.endswith("check vault.address and the network.")


async def test_the_certificate_of_the_store_is_verified(tmp_path: Path) -> None:
    """Against the configured authority; without it the error says which key to set."""
    made = make_certificates(tmp_path)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(made.certificate, made.key)
    async with opened(tls=context, settings={"ca": made.authority}) as bench:
        inside = await bench.resolve()
    async with opened(tls=context) as bench:
        stranger = await bench.refusal()
    async with opened(tls=context, settings={"ca": tmp_path / "nosuch"}) as bench:
        no_file = await bench.refusal()

    assert inside == VALUE
    assert "shows a certificate that is not vouched for" in stranger
    assert "set vault.ca" in stranger
    assert no_file.startswith(f"The ca of vault, {tmp_path}/nosuch, cannot be read (No such file")


# --- the doctor ---------------------------------------------------------------------------------


async def test_the_check_says_how_the_bot_is_let_in() -> None:
    """And warns of a token that nobody can take away or lengthen."""
    async with opened() as bench:
        healthy = await bench.secrets.check()
    async with opened(TOKEN) as bench:
        bench.environ["TOKEN"] = bench.vault.grant("hvs.forever")
        forever = await bench.secrets.check()
    async with opened(TOKEN) as bench:
        bench.environ["TOKEN"] = bench.vault.grant("hvs.ending", ttl_s=7200, renewable=False)
        ending = await bench.secrets.check()
    async with opened(sealed=True) as bench:
        sealed = await bench.secrets.check()

    assert [line.endswith("lets us in by AppRole") for line in healthy] == [True]
    assert "never ends" in forever[1]
    assert "ends in 2.0 h and cannot be renewed" in ending[1]
    assert "is sealed" in sealed[0]
    assert sealed[0].startswith("fault: ")
