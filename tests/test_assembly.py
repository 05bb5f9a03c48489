"""Which store the settings mean."""

from __future__ import annotations

from pathlib import Path

import pytest

from bot.assembly import open_store
from bot.model import SecretRef
from bot.settings import S3, Settings
from bot.stores.folder import FolderStore
from bot.stores.s3 import S3Store
from bot.stores.spare import SpareStore

BUCKET = S3(bucket="evidence", access_key=SecretRef("key"), secret_key=SecretRef("secret"))


class Literal:
    """Resolves a reference to its own text."""

    async def resolve(self, ref: SecretRef) -> str:
        return ref.text

    def forget(self, ref: SecretRef) -> None:
        """Nothing is kept."""


@pytest.mark.parametrize(
    ("journal", "kind"),
    [("sqlite:///{}/journal.db", SpareStore), ("sqlite://", S3Store), ("postgresql://db/capturebot", S3Store)],
)
async def test_what_s3_refuses_is_kept_beside_a_journal_that_is_a_file(
    tmp_path: Path, journal: str, kind: type[object]
) -> None:
    """Elsewhere there is no place of its own."""
    store = await open_store(Settings(targets={}, journal=journal.format(tmp_path), s3=BUCKET), Literal())

    assert type(store) is kind
    await store.close()


async def test_without_s3_there_is_a_folder(tmp_path: Path) -> None:
    """And nothing beside it."""
    assert type(await open_store(Settings(targets={}, folder=tmp_path), Literal())) is FolderStore
