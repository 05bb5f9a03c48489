"""Keys that are replaced while the bot is at work, on moto's server with its accounts and signatures checked."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import aioboto3
import httpx
import pytest
import pytest_asyncio
from aiobotocore.config import AioConfig
from moto.server import ThreadedMotoServer

from bot.errors import StoreError
from bot.model import AwsSecrets, SecretRef, TokenAuth, Vault
from bot.secrets import Secrets
from bot.secrets.aws import AwsProvider
from bot.secrets.keeping import KEPT_S
from bot.secrets.vault import VaultSecrets
from bot.settings import S3
from bot.stores.intake import once
from bot.stores.s3 import S3Store
from tests.vault import Clock, VaultStandIn

pytestmark = [
    pytest.mark.thorough,
    pytest.mark.asyncio(loop_scope="module"),
    pytest.mark.filterwarnings("ignore:datetime.datetime.utcnow:DeprecationWarning"),  # botocore's own
]

MIB = 1024 * 1024
BUCKET, REGION, USER = "evidence", "us-east-1", "capturebot"
EVERYTHING = {
    "Version": "2012-10-17",
    "Statement": [{"Effect": "Allow", "Action": "*", "Resource": "*"}],
}


@dataclass
class Account:
    """An account of AWS's: whoever administers it, and the bot's present keys."""

    url: str
    iam: Any
    environ: dict[str, str] = field(default_factory=dict)  # of the bot
    former: dict[str, str] = field(default_factory=dict)

    async def rotate(self) -> None:
        """Give the bot another pair of keys, and let the former be known no more."""
        self.former = dict(self.environ)
        made = (await self.iam.create_access_key(UserName=USER))["AccessKey"]
        self.environ |= {"KEY": made["AccessKeyId"], "SECRET": made["SecretAccessKey"]}
        if self.former:
            await self.iam.delete_access_key(UserName=USER, AccessKeyId=self.former["KEY"])


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def account() -> AsyncIterator[Account]:
    """Moto's server, which lets nobody in without keys from here on."""
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    url = f"http://{host}:{port}"
    async with AsyncExitStack() as stack:
        stack.callback(server.stop)
        first = aioboto3.Session("first", "first", region_name=REGION)
        async with first.client("iam", endpoint_url=url) as iam:
            for name in ("root", USER):
                await iam.create_user(UserName=name)
                await iam.put_user_policy(UserName=name, PolicyName="all", PolicyDocument=json.dumps(EVERYTHING))
            root = (await iam.create_access_key(UserName="root"))["AccessKey"]
        session = aioboto3.Session(root["AccessKeyId"], root["SecretAccessKey"], region_name=REGION)
        async with httpx.AsyncClient(base_url=url) as moto:
            await moto.post("/moto-api/reset-auth", content="0")
            stack.push_async_callback(_let_all_in, url)
        made = Account(url, await stack.enter_async_context(session.client("iam", endpoint_url=url)))
        config = AioConfig(s3={"addressing_style": "path"})
        async with session.client("s3", endpoint_url=url, config=config) as s3:
            await s3.create_bucket(Bucket=BUCKET)
        async with session.client("secretsmanager", endpoint_url=url) as secrets:
            await secrets.create_secret(Name="orders", SecretString="hunter2")
        yield made


async def _let_all_in(url: str) -> None:
    async with httpx.AsyncClient(base_url=url) as moto:
        await moto.post("/moto-api/reset-auth", content="inf")  # other files' servers share the setting


async def opened(account: Account, secrets: Secrets, access_key: str, secret_key: str) -> S3Store:
    """A store whose keys lie at these references."""
    settings = S3(
        bucket=BUCKET,
        endpoint_url=account.url,
        path_style=True,
        access_key=SecretRef(access_key),
        secret_key=SecretRef(secret_key),
    )
    return await S3Store.open(settings, secrets)


@pytest_asyncio.fixture(loop_scope="module")
async def store(account: Account) -> AsyncIterator[S3Store]:
    """The bot's store, opened with keys that are good by then."""
    await account.rotate()
    made = await opened(account, Secrets(account.environ), "env:KEY", "env:SECRET")
    yield made
    await made.close()


async def test_an_upload_that_is_under_way_goes_on_with_the_new_keys(account: Account, store: S3Store) -> None:
    """Its first part is sent with the old ones, which are gone before the second."""
    data = bytes(range(256)) * (20 * MIB // 256)

    async def chunks() -> AsyncIterator[bytes]:
        yield data[: 9 * MIB]
        await account.rotate()
        yield data[9 * MIB :]

    kept = await store.put("c1/long.txt", chunks())

    assert kept.size_bytes == len(data)
    assert [artifact.size_bytes for artifact in await store.sweep("c1/")] == [len(data)]


async def test_a_small_object_and_a_reading_take_the_new_keys_too(account: Account, store: S3Store) -> None:
    """Nobody is told of it."""
    await account.rotate()
    await store.put("c2/ps.txt", once(b"ps"))
    await account.rotate()

    assert await store.read("c2/ps.txt") == b"ps"


async def test_new_keys_that_are_wrong_too_are_told_with_the_setting(account: Account, store: S3Store) -> None:
    """What the thread says of the step; and then they are mended, and all is well."""
    await account.rotate()
    good = dict(account.environ)
    account.environ |= {"KEY": "AKIAWRONG", "SECRET": "wrong"}

    with pytest.raises(StoreError) as unknown:
        await store.put("c3/ps.txt", once(b"ps"))
    account.environ |= good | {"SECRET": "wrong"}
    with pytest.raises(StoreError) as unfit:
        await store.put("c3/ps.txt", once(b"ps"))
    del account.environ["SECRET"]
    with pytest.raises(StoreError) as gone:
        await store.put("c3/ps.txt", once(b"ps"))
    account.environ |= good

    assert "The access key is not known there. Put the right one where s3.access_key points" in unknown.value.reason
    assert "The secret key does not fit the access key. Put its own where s3.secret_key points" in unfit.value.reason
    assert "failed: The environment variable SECRET is not set" in gone.value.reason
    assert (await store.put("c3/ps.txt", once(b"ps"))).key == "c3/ps.txt"


@asynccontextmanager
async def in_vault(account: Account) -> AsyncIterator[tuple[VaultStandIn, S3Store, Secrets]]:
    """The bot's present keys in Vault, and a store that has used them."""
    await account.rotate()
    async with VaultStandIn.serving(values={"secret/s3": dict(account.environ)}) as vault:
        secrets = Secrets({"TOKEN": vault.grant("token-of-the-bot")})
        vaulted = VaultSecrets(Vault(address=vault.url, auth=TokenAuth(token=SecretRef("env:TOKEN"))), secrets)
        secrets.join("vault", vaulted)
        store = await opened(account, secrets, "vault://secret/s3#KEY", "vault://secret/s3#SECRET")
        await store.put("c4/used.txt", once(b"used"))
        vault.asked.clear()
        try:
            yield vault, store, secrets
        finally:
            await store.close()
            await secrets.close()


async def test_keys_that_are_kept_of_a_store_are_asked_for_anew_once_they_are_refused(account: Account) -> None:
    """Once, and not only after a minute; the redactor knows both."""
    async with in_vault(account) as (vault, store, secrets):
        await account.rotate()
        vault.values["secret/s3"] = dict(account.environ)
        kept = await store.put("c4/new.txt", once(b"new"))
        asked = list(vault.asked)
        known = secrets.known()

    assert (kept.size_bytes, asked) == (3, ["GET secret/data/s3"])
    assert {account.former["SECRET"].encode(), account.environ["SECRET"].encode()} <= set(known)


async def test_keys_that_are_refused_while_their_store_is_away_are_told_as_both(account: Account) -> None:
    """What was refused, and why nothing newer is known."""
    async with in_vault(account) as (vault, store, _):
        await account.rotate()
        vault.sealed = True
        with pytest.raises(StoreError) as refused:
            await store.put("c4/away.txt", once(b"away"))

    assert "Put the right one where s3.access_key points" in refused.value.reason
    assert "Whether there are newer keys is not known: " in refused.value.reason
    assert "is sealed" in refused.value.reason


async def test_keys_of_the_secrets_manager_are_read_at_every_use(account: Account) -> None:
    """A connection that is open already signs with the new ones."""
    await account.rotate()
    clock = Clock()
    secrets = Secrets(account.environ)
    keys = {"access_key": SecretRef("env:KEY"), "secret_key": SecretRef("env:SECRET")}
    settings = AwsSecrets(region=REGION, endpoint_url=account.url, **keys)
    secrets.join("awssm", AwsProvider(settings, secrets, clock=clock))
    found = [await secrets.resolve(SecretRef("awssm://orders"))]
    await account.rotate()
    clock.now += KEPT_S
    found.append(await secrets.resolve(SecretRef("awssm://orders")))
    checked = await secrets.check()
    await secrets.close()

    assert found == ["hunter2", "hunter2"]
    assert checked == [f"ok: AWS Secrets Manager ({REGION}) knows our credentials"]
