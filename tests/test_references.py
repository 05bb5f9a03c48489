"""The grammar of references to secrets."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bot.references import Place, place_of, read_reference, references_in, scheme_of
from bot.settings import S3, PagerDuty


@pytest.mark.parametrize(
    ("text", "meant"),
    [
        ("env:ORDERS_DB", "env:ORDERS_DB"),
        ("file:/run/secrets/db", "file:/run/secrets/db"),
        ("systemd:orders-db", "systemd:orders-db"),
        ("vault://secret/orders/db#password", "vault://secret/orders/db#password"),
        ("ref+vault://secret/orders/db#/password", "vault://secret/orders/db#password"),
        ("ref+openbao://secret/orders#/a/b", "vault://secret/orders#a/b"),
        ("awssm://prod/orders#password", "awssm://prod/orders#password"),
        ("awssm://prod/orders", "awssm://prod/orders"),
        ("awssm://arn:aws:secretsmanager:eu-west-1:1:secret:orders-AbC", "awssm://arn:aws:secretsmanager:eu-west-1:1:secret:orders-AbC"),
        ("ref+awssecrets://team/doc?region=us-west-2#/foo/bar", "awssm://team/doc?region=us-west-2#foo/bar"),
    ],
)  # fmt: skip
def test_what_is_a_reference(text: str, meant: str) -> None:
    """The spellings of vals mean the same as ours."""
    found = read_reference(text)

    assert found
    assert found.text == meant


@pytest.mark.parametrize(
    "text",
    [
        "hunter2", "env:", "env:A-B", "file:", "systemd:", "systemd:a/b", "systemd:..", "systemd:.hidden",
        "vault://secret#key", "vault://secret/db", "vault://secret/../db#key", "vault://secret/./db#key",
        "vault:///db#key", "vault://secret//db#key", "vault://secret/db?x=1#key", "vault://secret/db#", "vault://secret/db#/",
        "vault://secret/..#key", "vault://a b/c#key", "VAULT://secret/db#key", "awssm://", "awssm://x?y=1", "awssm://x?region=EU",
        "ref+file:///x", "ref+sops://x#/y", "ref+env:A", "vault://secret/db#a\nb", "vault://s/%2e%2e/db#key",
    ],
)  # fmt: skip
def test_what_is_none(text: str) -> None:
    """A path that could leave its mount, a part that is missing, or a secret itself."""
    assert read_reference(text) is None


def test_the_way_into_a_store_lies_on_this_machine() -> None:
    """A store's own login cannot lie in it."""
    assert read_reference("vault://secret/db#key", local=True) is None
    assert read_reference("env:A", local=True)


@given(st.text(max_size=60), st.sampled_from(["", "env:", "file:", "vault://a/b#", "awssm://", "ref+vault://"]))
def test_reading_is_stable(text: str, scheme: str) -> None:
    """What was read once reads as itself, and its place is spelt as it was."""
    found = read_reference(scheme + text)
    if found is None:
        return

    assert read_reference(found.text) == found
    place = place_of(found)
    assert (place is None) == (scheme_of(found) in {"env", "file", "systemd"})
    assert place is None or str(place) == found.text


def test_a_place_has_its_parts() -> None:
    """As the store wants them."""
    found = read_reference("awssm://team/doc?region=us-west-2#foo/bar")

    assert found
    assert place_of(found) == Place("awssm", "team/doc", "foo/bar", "us-west-2")


def test_every_reference_in_settings_is_found() -> None:
    """In values, tuples and mappings."""
    one, two, three = (ref for ref in map(read_reference, ("env:A", "env:B", "env:C")) if ref)
    settings = {"p": PagerDuty(token=one, sender="x", webhook_secrets=(two,)), "s": S3(bucket="b", access_key=three)}

    assert [*references_in(settings)] == [one, two, three]
