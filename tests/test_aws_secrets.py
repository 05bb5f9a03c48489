"""Secrets of AWS Secrets Manager, against moto's server."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from typing import Any

import aioboto3
import pytest
import pytest_asyncio
from moto.server import ThreadedMotoServer

from bot.errors import SecretMissing
from bot.model import AwsSecrets, SecretRef
from bot.secrets import Secrets
from bot.secrets.aws import AwsProvider
from bot.secrets.keeping import KEPT_S
from tests.faults import refusing_url
from tests.vault import Clock

pytestmark = [
    pytest.mark.thorough,
    pytest.mark.filterwarnings("ignore:datetime.datetime.utcnow:DeprecationWarning"),  # botocore's own
]

VALUE = "hunter2-of-aws"
REGION = "eu-west-1"


class Bench:
    """A server with secrets, and what resolves them."""

    def __init__(self, url: str, **settings: Any) -> None:
        self.clock = Clock()
        self.secrets = Secrets({"KEY": "AKIDTEST", "SECRET": "hunter2-key"})
        access = {"access_key": SecretRef("env:KEY"), "secret_key": SecretRef("env:SECRET")}
        self._settings = AwsSecrets(**{"region": REGION, "endpoint_url": url, **access, **settings})
        self.secrets.join("awssm", AwsProvider(self._settings, self.secrets, clock=self.clock))

    async def resolve(self, text: str) -> str:
        """The value."""
        return await self.secrets.resolve(SecretRef(text))

    async def refusal(self, text: str) -> str:
        """Why there is none; no secret is in it."""
        with pytest.raises(SecretMissing) as caught:
            await self.resolve(text)
        assert "hunter2" not in repr(caught.value) + repr(caught.value.__context__)
        return caught.value.reason


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def server() -> AsyncIterator[str]:
    """Moto's server; its address."""
    started = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    started.start()
    host, port = started.get_host_and_port()
    yield f"http://{host}:{port}"
    started.stop()


@pytest.fixture
async def bench(server: str) -> AsyncIterator[Bench]:
    """Resolves from that server."""
    made = Bench(server)
    yield made
    await made.secrets.close()


async def put(url: str, name: str, *, region: str = REGION, **value: Any) -> None:
    """Make a secret, or give it another value."""
    session = aioboto3.Session(aws_access_key_id="a", aws_secret_access_key="b")
    async with session.client("secretsmanager", region_name=region, endpoint_url=url) as client:
        try:
            await client.create_secret(Name=name, **value)
        except client.exceptions.ResourceExistsException:
            await client.put_secret_value(SecretId=name, **value)


async def test_a_part_of_a_json_text_and_a_whole_text_are_found(server: str, bench: Bench) -> None:
    """In the settings' region, or in the one that the reference names."""
    await put(server, "prod/orders", SecretString=json.dumps({"password": VALUE, "inner": {"key": "deep"}}))
    await put(server, "plain", SecretString="hunter2 whole", region="us-west-2")

    assert await bench.resolve("awssm://prod/orders#password") == VALUE
    assert await bench.resolve("awssm://prod/orders#inner/key") == "deep"
    assert await bench.resolve("awssm://plain?region=us-west-2") == "hunter2 whole"
    assert VALUE.encode() in bench.secrets.known()


async def test_what_is_not_there_is_named(server: str, bench: Bench) -> None:
    """Secret, key or text, each with its cure."""
    await put(server, "prod/some", SecretString=json.dumps({"password": VALUE}))
    await put(server, "words", SecretString=VALUE)
    await put(server, "bytes", SecretBinary=b"hunter2")

    assert "has no such secret: check its name and the region." in await bench.refusal("awssm://nosuch#key")
    assert "it has password." in await bench.refusal("awssm://prod/some#pass")
    assert "leave `#key` out" in await bench.refusal("awssm://words#key")
    assert "is binary" in await bench.refusal("awssm://bytes")


async def test_a_rotated_secret_is_found(server: str) -> None:
    """A minute later at most, without a restart."""
    await put(server, "rotated", SecretString="hunter2-old")
    bench = Bench(server)
    first = await bench.resolve("awssm://rotated")
    await put(server, "rotated", SecretString="hunter2-new")
    kept = await bench.resolve("awssm://rotated")
    bench.clock.now += KEPT_S
    rotated = await bench.resolve("awssm://rotated")
    await bench.secrets.close()

    assert (first, kept, rotated) == ("hunter2-old", "hunter2-old", "hunter2-new")


async def test_the_check_tells_who_is_let_in(bench: Bench) -> None:
    """And an address where nobody answers."""
    with refusing_url() as url:
        away = Bench(url)
        lines = await away.secrets.check()
        await away.secrets.close()

    assert await bench.secrets.check() == ["ok: AWS Secrets Manager (eu-west-1) knows our credentials"]
    assert lines[0].startswith("fault: AWS Secrets Manager (eu-west-1) gave no answer about capturebot-doctor")
