"""Which channels are about an incident, and which one: names of the usual tools, links, numbers."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bot.announcing import (
    Facts,
    incidents_in,
    is_incident_channel,
    is_named_after,
    number_in,
    service_of_name,
    service_of_text,
)
from bot.model import Service

ORDERS = Service(name="orders", pagerduty="PSVC1", channels=("war-room-orders-.*", "inc-.*-shop.*"))
BILLING = Service(name="billing", pagerduty="PSVC2")
SERVICES = {"orders": ORDERS, "billing": BILLING}
FACTS = Facts(id="PABC123", number=1042, title="Checkout is slow", url="", service="PSVC1", is_open=True)


@pytest.mark.parametrize(
    "name",
    [
        "inc-1042-orders-slow",  # incident.io, incidentbot
        "inc-7-2026-11-22-checkout",
        "incident-123",  # FireHydrant, GitLab
        "-incident-42",
        "acme-incident-42",
        "-inc-2019-10-22",
        "incident-12-orders-are-slow",  # Rootly
        "dispatch-acme-core-17",  # Dispatch
        "pd-checkout-latency",
        "sev1-checkout",
        "war-room-orders-3",  # the service's own pattern
    ],
)
def test_a_tools_channel_is_an_incidents_own(name: str) -> None:
    """Whatever tool made it."""
    assert is_incident_channel(name, SERVICES.values())


@pytest.mark.parametrize(
    "name",
    [
        "incidents",
        "incident-announcements",
        "inc-feed",
        "incident-alerts",
        "inc-1042-orders-comms",
        "inc-7-shop-comms",  # a service's pattern matches it
        "dispatch-acme-core-17-deleted",
        "incident-reviews",
        "incident-response",
        "general",
        "increment-design",
        "orders",
        "war-room",
        "",
    ],
)
def test_other_channels_are_left_alone(name: str) -> None:
    """Announcements, feeds, `-comms` and what only looks alike."""
    assert not is_incident_channel(name, SERVICES.values())


@pytest.mark.parametrize(
    ("name", "service"),
    [
        ("inc-1042-orders-slow", "orders"),
        ("inc-1042-shopping", "orders"),  # by its pattern
        ("inc-1042-billing", "billing"),
        ("inc-1042-orders-billing", ""),  # both
        ("inc-1042-reorders", ""),
        ("inc-1042", ""),
    ],
)
def test_a_name_tells_the_service_only_where_it_is_one(name: str, service: str) -> None:
    """A guess would start the wrong captures."""
    assert service_of_name(name, SERVICES) == service


def test_an_announcement_tells_the_service_by_name_or_id() -> None:
    """As a word of its own."""
    assert service_of_text("Triggered: Orders: checkout is slow", SERVICES) == "orders"
    assert service_of_text("https://acme.pagerduty.com/service-directory/PSVC2", SERVICES) == "billing"
    assert service_of_text("orders or billing", SERVICES) == ""


def test_links_lead_to_incidents() -> None:
    """As Slack writes them, each once; whether another host's address is one, PagerDuty says."""
    texts = [
        "https://app.incident.io/acme/incidents/01HXAB and https://rootly.com/account/incidents/42",
        "<https://acme.pagerduty.com/incidents/Q1ABCDEFGHIJKL|#1042>",
        "see https://acme.eu.pagerduty.com/incidents/PABC123?utm=1 and https://acme.pagerduty.com/incidents/PABC123",
    ]

    assert incidents_in(texts) == ["Q1ABCDEFGHIJKL", "PABC123", "01HXAB"]


@pytest.mark.parametrize(
    ("name", "number"),
    [
        ("inc-1042-orders", "1042"),
        ("inc-2026-11-22-checkout", ""),
        ("inc-2026-11-22-7-checkout", "7"),
        ("inc-2002-orders", "2002"),
        ("inc-20261122", ""),
        ("inc-orders", ""),
    ],
)
def test_a_number_in_a_name_is_read(name: str, number: str) -> None:
    """A date is none; whether the rest is one, the incident's own facts decide."""
    assert number_in(name) == number


def test_a_number_alone_does_not_tie_a_channel_to_an_incident() -> None:
    """Other tools count too: it must be open, and share a word of its title or its service."""
    assert is_named_after("inc-1042-checkout", FACTS, SERVICES)
    assert is_named_after("inc-1042-orders", FACTS, SERVICES)
    assert not is_named_after("inc-1042-search", FACTS, SERVICES)
    assert not is_named_after("inc-1042-checkout", replace(FACTS, is_open=False), SERVICES)


@settings(max_examples=50)
@given(st.text(max_size=100))
def test_any_name_and_text_is_taken(text: str) -> None:
    """Names and messages come from people and tools."""
    is_incident_channel(text, SERVICES.values())
    assert service_of_name(text, SERVICES) in {"", "orders", "billing"}
    assert service_of_text(text, SERVICES) in {"", "orders", "billing"}
    assert incidents_in([text]) == []
