"""Secrets are found at use, remembered for the redactor, and never told."""

from __future__ import annotations

import asyncio
import os
import traceback
from collections.abc import Mapping
from pathlib import Path

import pytest

from bot.errors import SecretMissing
from bot.model import SecretRef
from bot.references import Place
from bot.secrets import FORMER_KEPT, FORMER_KEPT_S, Resolver, Secrets
from bot.secrets.files import FILE_BYTES

VALUE = "hunter2-is-the-value"


class Clock:
    """A time that moves only when told."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def a_file(path: Path, value: bytes = VALUE.encode(), mode: int = 0o600) -> Path:
    """A secret's file."""
    path.write_bytes(value)
    path.chmod(mode)
    return path


async def refusal(secrets: Secrets, text: str) -> str:
    """Why *text* does not resolve; in no shape does the error hold the value."""
    with pytest.raises(SecretMissing) as caught:
        await secrets.resolve(SecretRef(text))
    told = (
        "".join(traceback.format_exception(caught.value))
        + repr(caught.value.__context__)
        + repr(caught.value.__cause__)
    )
    assert "hunter2" not in told
    return caught.value.reason


# --- env ----------------------------------------------------------------------------------------


async def test_a_variable_is_read_at_each_use() -> None:
    """The environment is what it is when the secret is needed."""
    environ = {"ORDERS_DB": VALUE}
    secrets: Resolver = Secrets(environ)

    first = await secrets.resolve(SecretRef("env:ORDERS_DB"))
    environ["ORDERS_DB"] = "another"
    second = await secrets.resolve(SecretRef("env:ORDERS_DB"))

    assert (first, second) == (VALUE, "another")


@pytest.mark.parametrize(
    ("environ", "text", "said"),
    [
        ({}, "env:ORDERS_DB", "variable ORDERS_DB is not set"),
        ({"ORDERS_DB": ""}, "env:ORDERS_DB", "env:ORDERS_DB is empty"),
        ({}, "env:", "must be followed by the name"),
        ({}, "env:hunter2 with blanks", "must be followed by the name"),
    ],
)
async def test_a_missing_variable_is_named(environ: Mapping[str, str], text: str, said: str) -> None:
    """With what to do about it, and without repeating what may be a secret."""
    assert said in await refusal(Secrets(environ), text)


@pytest.mark.parametrize("text", ["hunter2", "hunter2:secret", "vault://secret/hunter2", "", ":", "ENV:hunter2"])
async def test_an_unknown_scheme_names_the_known_ones_and_not_the_text(text: str) -> None:
    """Somebody may have written the password itself."""
    reason = await refusal(Secrets({}), text)

    assert "env:, file:" in reason


# --- file ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("content", "value"),
    [(b"s3cret", "s3cret"), (b"s3cret\n", "s3cret"), (b"s3cret\r\n", "s3cret"), (b"two\nlines\n\n", "two\nlines\n"), (b" s \xc3\xbc ", " s ü ")],
)  # fmt: skip
async def test_one_newline_at_the_end_of_a_file_is_not_part_of_the_secret(
    tmp_path: Path, content: bytes, value: str
) -> None:
    """Editors and `echo` write it; everything else is meant."""
    a_file(tmp_path / "secret", content)

    assert await Secrets({}).resolve(SecretRef(f"file:{tmp_path}/secret")) == value


async def test_a_relative_path_starts_at_the_base(tmp_path: Path) -> None:
    """The configuration's folder."""
    a_file(tmp_path / "secret")

    assert await Secrets({}, base=tmp_path).resolve(SecretRef("file:secret")) == VALUE


async def test_a_rotated_file_needs_no_restart(tmp_path: Path) -> None:
    """Even when it changes twice within one tick of the file system's clock."""
    path = a_file(tmp_path / "secret")
    secrets = Secrets({}, base=tmp_path)
    before = path.stat()
    assert await secrets.resolve(SecretRef("file:secret")) == VALUE

    a_file(path, VALUE.upper().encode())
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))

    assert await secrets.resolve(SecretRef("file:secret")) == VALUE.upper()


async def test_a_link_is_followed(tmp_path: Path) -> None:
    """Kubernetes rotates by links."""
    a_file(tmp_path / "..2026_11_22")
    (tmp_path / "secret").symlink_to(tmp_path / "..2026_11_22")

    assert await Secrets({}, base=tmp_path).resolve(SecretRef("file:secret")) == VALUE


async def test_a_file_that_is_no_secret_is_refused_with_the_cure(tmp_path: Path) -> None:
    """Each refusal says which file and what is wrong with it."""
    a_file(tmp_path / "empty", b"\n")
    a_file(tmp_path / "binary", b"hunter2\xff\xfe")
    a_file(tmp_path / "large", b"x" * (FILE_BYTES + 1))
    a_file(tmp_path / "open", mode=0o604)
    a_file(tmp_path / "shared", mode=0o620)
    (tmp_path / "folder").mkdir()
    os.mkfifo(tmp_path / "pipe", 0o600)
    secrets = Secrets({}, base=tmp_path)

    said = {name: await refusal(secrets, f"file:{name}") for name in ("none", "empty", "binary", "large", "open", "shared", "folder", "pipe")}  # fmt: skip

    assert "No such file" in said["none"]
    assert "is empty" in said["empty"]
    assert "not UTF-8" in said["binary"]
    assert "larger than 64 KiB" in said["large"]
    assert f"chmod 600 {tmp_path}/open" in said["open"]
    assert "mode 0620" in said["shared"]
    assert "not a regular file" in said["folder"]
    assert "not a regular file" in said["pipe"]
    assert secrets.known() == ()


async def test_the_largest_file_is_read_whole(tmp_path: Path) -> None:
    """The bound is what it says."""
    a_file(tmp_path / "secret", b"x" * FILE_BYTES)

    assert len(await Secrets({}, base=tmp_path).resolve(SecretRef("file:secret"))) == FILE_BYTES


@pytest.mark.parametrize(
    ("mode", "accepted"), [(0o400, True), (0o444, True), (0o644, True), (0o664, False), (0o646, False)]
)
@pytest.mark.parametrize("place", ["run/secrets", "credentials"])
async def test_a_mounted_secret_may_be_readable_but_not_writable(
    tmp_path: Path, place: str, mode: int, *, accepted: bool
) -> None:
    """Docker, Kubernetes and systemd mount them so, in a place that is private to the service."""
    (tmp_path / place).mkdir(parents=True)
    path = a_file(tmp_path / place / "db", mode=mode)
    secrets = Secrets({"CREDENTIALS_DIRECTORY": str(tmp_path / "credentials")}, mounts=(tmp_path / "run/secrets",))

    if accepted:
        assert await secrets.resolve(SecretRef(f"file:{path}")) == VALUE
    else:
        assert "open to other users" in await refusal(secrets, f"file:{path}")


async def test_a_link_out_of_the_mounts_is_checked_where_it_leads(tmp_path: Path) -> None:
    """A name below /run/secrets does not make a world-readable file elsewhere a mounted secret."""
    (tmp_path / "run").mkdir()
    a_file(tmp_path / "elsewhere", mode=0o644)
    (tmp_path / "run/db").symlink_to(tmp_path / "elsewhere")

    reason = await refusal(Secrets({}, mounts=(tmp_path / "run",)), f"file:{tmp_path}/run/db")

    assert "open to other users" in reason


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away: run the tests as root")
async def test_the_owner_and_the_group_of_a_file_count(tmp_path: Path) -> None:
    """Root may share its file with the bot's own group; nobody else's file is trusted."""
    ours, foreign = a_file(tmp_path / "ours", mode=0o640), a_file(tmp_path / "foreign", mode=0o640)
    strange = a_file(tmp_path / "strange", mode=0o600)
    os.chown(ours, 0, os.getegid())
    os.chown(foreign, 0, os.getegid() + 1)
    os.chown(strange, 12345, os.getegid())
    secrets = Secrets({}, base=tmp_path)

    assert await secrets.resolve(SecretRef("file:ours")) == VALUE
    assert "open to other users" in await refusal(secrets, "file:foreign")
    assert "belongs to another user" in await refusal(secrets, "file:strange")


# --- other schemes ------------------------------------------------------------------------------


class Store:
    """A store that finds *value*, or hangs without one."""

    def __init__(self, value: str = "") -> None:
        self.value = value
        self.forgotten: list[str] = []
        self.closed = False

    async def find(self, place: Place) -> str:
        if not self.value:
            await asyncio.Event().wait()
        return f"{self.value} at {place.path} {place.key}"

    def forget(self, place: Place) -> None:
        self.forgotten.append(str(place))

    async def check(self) -> list[str]:
        return ["ok: here"]

    async def close(self) -> None:
        self.closed = True


async def test_another_scheme_joins_without_a_change_here() -> None:
    """A store is given the place in it; its values are remembered like all others."""
    store = Store("value")
    secrets = Secrets({}, providers={"vault": store})

    value = await secrets.resolve(SecretRef("vault://kv/db#password"))
    secrets.forget(SecretRef("vault://kv/db#password"))
    secrets.forget(SecretRef("env:A"))
    checked = await secrets.check()
    await secrets.close()

    assert value == "value at kv/db password"
    assert secrets.known() == (value.encode(),)
    assert store.forgotten == ["vault://kv/db#password"]
    assert (checked, store.closed) == (["ok: here"], True)
    assert "env:, file:, systemd:, vault://" in await refusal(secrets, "awssm://x")


async def test_an_accounts_name_is_no_secret() -> None:
    """Masked, it would take words such as "capture" out of everything."""
    secrets = Secrets({}, providers={"vault": Store("capture")})

    await secrets.resolve(SecretRef("vault://database/creds/capture#username"))

    assert secrets.known() == ()


async def test_a_store_that_hangs_is_given_up() -> None:
    """A capture must not wait for a secret store for ever."""
    secrets = Secrets({}, providers={"vault": Store()}, timeout_s=0.01)

    reason = await refusal(secrets, "vault://kv/db#key")

    assert reason == "The secret vault://kv/db#key gave no answer within 0.01 s."


# --- systemd ------------------------------------------------------------------------------------


async def test_a_credential_of_systemds_is_a_file_in_its_folder(tmp_path: Path) -> None:
    """And nothing beside it; without the folder the error names what to add to the unit."""
    (tmp_path / "credentials").mkdir()
    a_file(tmp_path / "credentials/orders-db", b"s3cret\n", mode=0o440)
    a_file(tmp_path / "outside")
    secrets = Secrets({"CREDENTIALS_DIRECTORY": str(tmp_path / "credentials")})

    assert await secrets.resolve(SecretRef("systemd:orders-db")) == "s3cret"
    assert "No such file" in await refusal(secrets, "systemd:../outside")
    assert "add LoadCredential=" in await refusal(Secrets({}), "systemd:orders-db")


# --- what is known ------------------------------------------------------------------------------


async def test_every_resolved_value_is_known_to_the_redactor(tmp_path: Path) -> None:
    """Whatever scheme it came by, once."""
    a_file(tmp_path / "secret", b"from-a-file\n")
    secrets = Secrets({"A": "from-the-environment", "B": "from-a-file"}, base=tmp_path)
    assert secrets.known() == ()

    for text in ("env:A", "file:secret", "env:B"):
        await secrets.resolve(SecretRef(text))

    assert sorted(secrets.known()) == [b"from-a-file", b"from-the-environment"]


async def test_a_replaced_secret_stays_known_for_a_while() -> None:
    """It may still be in logs and open connections; the present ones stay known for good."""
    environ, clock = {"A": "old-value", "B": "stays"}, Clock()
    secrets = Secrets(environ, clock=clock)
    for text in ("env:A", "env:B"):
        await secrets.resolve(SecretRef(text))
    environ["A"] = "new-value"
    await secrets.resolve(SecretRef("env:A"))

    soon = set(secrets.known())
    clock.now = FORMER_KEPT_S + 1
    later = set(secrets.known())

    assert soon == {b"old-value", b"new-value", b"stays"}
    assert later == {b"new-value", b"stays"}


async def test_the_number_of_replaced_secrets_is_bounded() -> None:
    """A store that gives out a new one each time does not fill memory; the latest are kept."""
    environ = {"A": "value-0"}
    secrets = Secrets(environ)

    for number in range(FORMER_KEPT + 50):
        environ["A"] = f"value-{number}"
        await secrets.resolve(SecretRef("env:A"))

    known = set(secrets.known())
    assert len(known) == FORMER_KEPT + 1
    assert f"value-{FORMER_KEPT + 48}".encode() in known
    assert b"value-0" not in known


async def test_no_value_is_in_a_repr(tmp_path: Path) -> None:
    """Neither of the resolver nor of a reference."""
    secrets = Secrets({"A": VALUE}, base=tmp_path)
    await secrets.resolve(SecretRef("env:A"))

    assert "hunter2" not in repr(secrets) + repr(SecretRef("env:A")) + str(secrets)
