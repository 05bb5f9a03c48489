"""What the client sends and the stand-in answers, held against PagerDuty's published OpenAPI description.

The description (PagerDuty/api-schema, reference/REST/openapiv3.json) is not part of this project:
the folder that holds it as pagerduty-rest.openapi.json is ../shared/reference/schemas beside the
repository, or the one that CAPTUREBOT_SCHEMAS names.
"""

from __future__ import annotations

import asyncio
import json
import os
import re
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import httpx
import pytest
from jsonschema import Draft202012Validator, FormatChecker
from referencing import Registry
from referencing.jsonschema import DRAFT202012

from bot.errors import DeliveryFailed
from bot.model import SecretRef
from bot.pagerduty.client import PagerDutyClient
from bot.pagerduty.subscriptions import Subscriptions
from bot.playground.pagerduty import Call, Fault, PagerDutyStandIn
from bot.settings import PagerDuty

pytestmark = pytest.mark.thorough

SCHEMAS = Path(os.environ.get("CAPTUREBOT_SCHEMAS", Path(__file__).parents[2] / "shared" / "reference" / "schemas"))
DESCRIPTION = SCHEMAS / "pagerduty-rest.openapi.json"
HERE = "urn:pagerduty"
INCIDENT = "PABC123"


class Contract:
    """An OpenAPI 3.0 description that requests and answers can be held against."""

    def __init__(self, description: Any) -> None:
        self._paths = description["paths"]
        self._description = _as_json_schema(description)
        self._registry: Registry[Any] = Registry().with_resource(HERE, DRAFT202012.create_resource(self._description))

    def faults(self, call: Call) -> Iterator[str]:
        """Everything about *call* that the description does not allow."""
        template, parts = self._find(call.path)
        operation = self._paths[template][call.method.lower()]
        given = {"path": parts, "query": dict(call.query), "header": call.headers}
        for parameter in map(self._resolved, operation.get("parameters", [])):
            name = parameter["name"].lower() if parameter["in"] == "header" else parameter["name"]
            yield from self._parameter_faults(parameter, given[parameter["in"]].get(name))
        known = {parameter["name"] for parameter in map(self._resolved, operation.get("parameters", []))}
        yield from (f"unknown query parameter {name}" for name, _ in call.query if name not in known)
        if "requestBody" in operation:
            schema = operation["requestBody"]["content"]["application/json"]["schema"]
            yield from self._errors(schema, json.loads(call.body))
        elif call.body:
            yield "a body where none is described"
        yield from self._answer_faults(operation["responses"], call)

    def _answer_faults(self, responses: Mapping[str, Any], call: Call) -> Iterator[str]:
        if str(call.status) not in responses:
            yield f"status {call.status} is not described"
            return
        response = self._resolved(responses[str(call.status)])
        if "content" in response:
            yield from self._errors(response["content"]["application/json"]["schema"], call.answer)
        elif call.answer is not None:
            yield "an answer where none is described"

    def _parameter_faults(self, parameter: Mapping[str, Any], value: str | None) -> Iterator[str]:
        if value is None:
            if parameter.get("required"):
                yield f"{parameter['name']} is missing"
            return
        kind = parameter["schema"].get("type")
        read: Any = int(value) if kind == "integer" else value.split(",") if kind == "array" else value
        yield from self._errors(parameter["schema"], read)

    def _errors(self, schema: Any, value: Any) -> Iterator[str]:
        validator = Draft202012Validator(
            _as_json_schema(schema), registry=self._registry, format_checker=FormatChecker(["email"])
        )
        yield from (f"{'/'.join(map(str, error.path))}: {error.message}" for error in validator.iter_errors(value))

    def _find(self, path: str) -> tuple[str, dict[str, str]]:
        for template in sorted(self._paths, key=lambda one: one.count("{")):
            pattern = re.sub(r"\\\{(\w+)\\\}", r"(?P<\1>[^/]+)", re.escape(template))
            if match := re.fullmatch(pattern, path):
                return template, {name: unquote(value) for name, value in match.groupdict().items()}
        raise AssertionError(f"{path} is not described")

    def _resolved(self, node: Any) -> Any:
        if "$ref" not in node:
            return node
        return self._registry.resolver(HERE).lookup(_absolute(node["$ref"])).contents


def _absolute(reference: str) -> str:
    return HERE + reference if reference.startswith("#") else reference


def _as_json_schema(node: Any) -> Any:
    """OpenAPI 3.0 as JSON Schema: `nullable` becomes a type, and references lead to the one document."""
    if isinstance(node, list):
        return [_as_json_schema(item) for item in node]
    if not isinstance(node, dict):
        return node
    if isinstance(node.get("$ref"), str):
        return {"$ref": _absolute(node["$ref"])}
    read = {key: _as_json_schema(value) for key, value in node.items() if key != "nullable"}
    return {"anyOf": [read, {"type": "null"}]} if node.get("nullable") is True else read


@pytest.fixture(scope="module")
def contract() -> Contract:
    """The published description, where it is at hand."""
    if not DESCRIPTION.exists():  # PagerDuty's own document, which no checkout brings along: skipped in CI, too
        pytest.skip(f"{DESCRIPTION.name} is not in {SCHEMAS}: set CAPTUREBOT_SCHEMAS to the folder that holds it")
    return Contract(json.loads(DESCRIPTION.read_text()))


class Token:
    """Resolves every reference to one token."""

    def __init__(self, token: str) -> None:
        self.token = token

    async def resolve(self, ref: SecretRef) -> str:
        return self.token

    def forget(self, ref: SecretRef) -> None:
        """Nothing is kept."""


async def no_wait(_: float) -> None:
    """Goes on at once."""


@pytest.fixture
async def pagerduty() -> AsyncIterator[PagerDutyStandIn]:
    """An account with an incident that has a note."""
    async with PagerDutyStandIn() as standin:
        standin.add_incident(INCIDENT, 1042, "Orders are slow", "Orders")
        yield standin


@pytest.fixture
async def client(pagerduty: PagerDutyStandIn) -> AsyncIterator[PagerDutyClient]:
    """The client as it goes to production."""
    access = PagerDuty(token=SecretRef("env:PD"), sender=pagerduty.sender, api_url=pagerduty.api_url)
    made = PagerDutyClient(access, Token(pagerduty.token), sleep=no_wait)
    yield made
    await made.close()


async def use_everything(client: PagerDutyClient) -> None:
    """Every call the client can make."""
    note = await client.create_note(INCIDENT, "Evidence.\n\ncapturebot / incident PABC123")
    await client.edit_note(INCIDENT, note, "More evidence.\n\ncapturebot / incident PABC123")
    await client.list_notes(INCIDENT)
    await client.incident(INCIDENT)
    await client.incident("1042")
    await client.check()


async def test_every_request_and_answer_is_as_published(
    contract: Contract, pagerduty: PagerDutyStandIn, client: PagerDutyClient
) -> None:
    """Parameters, headers and bodies, both ways."""
    await use_everything(client)

    assert {(call.method, call.status) for call in pagerduty.calls} == {("GET", 200), ("POST", 200), ("PUT", 200)}
    assert [(call.path, fault) for call in pagerduty.calls for fault in contract.faults(call)] == []


async def test_every_request_about_webhooks_is_as_published(
    contract: Contract, pagerduty: PagerDutyStandIn, client: PagerDutyClient
) -> None:
    """Found, made, mended, pinged, deleted."""
    subscriptions = Subscriptions(client)
    one, secret = await subscriptions.make("PSERVIC", "https://capturebot.example/pagerduty/webhooks")
    shown = pagerduty.hooks.subscriptions[one.id].shown
    shown |= {"active": False, "delivery_method": {**shown["delivery_method"], "temporarily_disabled": True}}

    (found,) = await subscriptions.of("PSERVIC")
    await subscriptions.mend(found)
    await subscriptions.ping(found)
    await subscriptions.delete(found)

    assert secret
    assert [call.method for call in pagerduty.calls] == ["POST", "GET", "PUT", "POST", "POST", "DELETE"]
    assert [(call.path, fault) for call in pagerduty.calls for fault in contract.faults(call)] == []


@pytest.mark.parametrize(
    ("incident", "changed", "status"),
    [
        (INCIDENT, {"wrong_region": True}, 401),
        (INCIDENT, {"read_only": True}, 403),
        (INCIDENT, {"sender": "someone@else.example"}, 400),
        (INCIDENT, {"requests_per_minute": 0}, 429),
        ("PNONE99", {}, 404),
    ],
)
async def test_every_refusal_is_as_published(
    contract: Contract,
    pagerduty: PagerDutyStandIn,
    client: PagerDutyClient,
    *,
    incident: str,
    changed: dict[str, object],
    status: int,
) -> None:
    """Status and body of an error are part of the contract."""
    for name, value in changed.items():
        setattr(pagerduty, name, value)

    with suppress(DeliveryFailed):
        await client.create_note(incident, "Evidence.")

    [call] = pagerduty.calls
    assert call.status == status
    assert list(contract.faults(call)) == []


async def test_a_repeated_create_stays_within_the_contract(
    contract: Contract, pagerduty: PagerDutyStandIn, client: PagerDutyClient
) -> None:
    """Also the search for the note, and its edit."""
    pagerduty.fail(Fault(reset=True, after=True, method="POST"))

    await client.create_note(INCIDENT, "Evidence.\n\ncapturebot / incident PABC123")

    answered = [call for call in pagerduty.calls if call.status]
    assert [call.method for call in answered] == ["GET", "PUT"]
    assert [fault for call in answered for fault in contract.faults(call)] == []


async def test_the_contract_notices_what_is_wrong(contract: Contract, pagerduty: PagerDutyStandIn) -> None:
    """A check that cannot fail proves nothing."""
    wrong = Call(
        method="POST",
        path=f"/incidents/{INCIDENT}/notes",
        query=(("colour", "red"),),
        headers={"accept": "application/json", "content-type": "text/plain", "from": "nobody"},
        body=b'{"note": {"contents": "x"}}',
        status=200,
        answer={"note": {"content": 7}},
    )

    found = list(contract.faults(wrong))

    assert len(found) == 5


# --- the stand-in is strict -------------------------------------------------------------------


@pytest.fixture
async def bare(pagerduty: PagerDutyStandIn) -> AsyncIterator[httpx.AsyncClient]:
    """Plain HTTP with the right headers."""
    headers = {
        "Accept": "application/vnd.pagerduty+json;version=2",
        "Authorization": f"Token token={pagerduty.token}",
        "Content-Type": "application/json",
        "From": pagerduty.sender,
    }
    async with httpx.AsyncClient(base_url=pagerduty.api_url, headers=headers) as client:
        yield client


@pytest.mark.parametrize(
    ("header", "status", "code"),
    [("Authorization", 401, 2006), ("Accept", 400, 2001), ("Content-Type", 400, 2001), ("From", 400, 2016)],
)
async def test_a_missing_header_is_refused(bare: httpx.AsyncClient, header: str, status: int, code: int) -> None:
    """With the code that the real one gives."""
    del bare.headers[header]

    answer = await bare.post(f"/incidents/{INCIDENT}/notes", content=b'{"note": {"content": "x"}}')

    assert (answer.status_code, answer.json()["error"]["code"]) == (status, code)


@pytest.mark.parametrize("body", ["", "[]", "{}", '{"note": {}}', '{"note": {"content": " "}}', '{"note": "x"}'])
async def test_a_body_that_is_no_note_is_refused(
    pagerduty: PagerDutyStandIn, bare: httpx.AsyncClient, body: str
) -> None:
    """And leaves nothing behind."""
    answer = await bare.post(f"/incidents/{INCIDENT}/notes", content=body)

    assert (answer.status_code, answer.json()["error"]["code"]) == (400, 2001)
    assert pagerduty.notes(INCIDENT) == []


async def test_the_longest_note_is_taken_and_one_byte_more_is_not(bare: httpx.AsyncClient) -> None:
    """65,535 bytes."""
    longest = "é" * 32_767 + "x"

    taken = await bare.post(f"/incidents/{INCIDENT}/notes", json={"note": {"content": longest}})
    refused = await bare.post(f"/incidents/{INCIDENT}/notes", json={"note": {"content": longest + "x"}})

    assert (taken.status_code, refused.status_code) == (200, 400)


async def test_incidents_come_in_pages(
    contract: Contract, pagerduty: PagerDutyStandIn, bare: httpx.AsyncClient
) -> None:
    """Limit, offset, and whether there is more."""
    for number in range(30):
        pagerduty.add_incident(f"PMORE{number:02}", number, "Another", "Orders", status="resolved")

    first = (await bare.get("/incidents", params={"limit": 20})).json()
    rest = (await bare.get("/incidents", params={"limit": 20, "offset": 20})).json()
    resolved = (await bare.get("/incidents?statuses[]=resolved&limit=100")).json()
    too_many = await bare.get("/incidents", params={"limit": 101})

    assert (len(first["incidents"]), first["more"]) == (20, True)
    assert (len(rest["incidents"]), rest["more"]) == (11, False)
    assert len(resolved["incidents"]) == 30
    assert too_many.status_code == 400
    assert [fault for call in list(pagerduty.calls)[:3] for fault in contract.faults(call)] == []


async def test_a_note_can_be_deleted_once(
    contract: Contract, pagerduty: PagerDutyStandIn, bare: httpx.AsyncClient
) -> None:
    """204, then 404."""
    note = pagerduty.write_note(INCIDENT, "Wrong incident.")

    gone = await bare.delete(f"/incidents/{INCIDENT}/notes/{note}")
    again = await bare.delete(f"/incidents/{INCIDENT}/notes/{note}")

    assert (gone.status_code, again.status_code) == (204, 404)
    assert [fault for call in pagerduty.calls for fault in contract.faults(call)] == []


async def test_the_limit_is_counted_down_in_headers(bare: httpx.AsyncClient) -> None:
    """960 requests a minute."""
    await bare.get(f"/incidents/{INCIDENT}/notes")
    answer = await bare.get(f"/incidents/{INCIDENT}/notes")

    assert answer.headers["ratelimit-limit"] == "960"
    assert answer.headers["ratelimit-remaining"] == "958"
    assert 0 < int(answer.headers["ratelimit-reset"]) <= 60


async def test_whoever_watches_is_told_of_a_note(pagerduty: PagerDutyStandIn, client: PagerDutyClient) -> None:
    """Tests and demonstrations wait for what happens, not for time to pass."""
    async with asyncio.TaskGroup() as group:
        group.create_task(client.create_note(INCIDENT, "Evidence."))
        await pagerduty.wait_for(lambda: bool(pagerduty.notes(INCIDENT)), within_s=5)

    with pytest.raises(TimeoutError):
        await pagerduty.wait_for(lambda: False, within_s=0.01)
