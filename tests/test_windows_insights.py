"""What is read of Windows' tools: netstat, tasklist, netsh, events as XML and logs of IIS, in any language and whatever they hold.

None of these texts was recorded on Windows; they follow the pages of Microsoft's documentation that are named beside the
recordings (tests/recordings/windows-*).
"""

from __future__ import annotations

import string
from datetime import UTC, datetime
from pathlib import Path
from xml.sax.saxutils import escape, quoteattr

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bot.insights import Reading, Section, words
from bot.insights.windows.crashes import crash_of, crashes
from bot.insights.windows.events import log_events
from bot.insights.windows.iis import read
from bot.insights.windows.net import connections
from bot.insights.windows.sockets import Range, netstat, range_of, tasklist
from bot.insights.windows.xml import Event, event_of, events, text_of, time_of
from bot.model import Finding, Level
from bot.recipes import bind_parameters, builtin_folder, load_folder

RECORDINGS = Path(__file__).parent / "recordings"
AT = datetime(2026, 11, 23, 3, 10, tzinfo=UTC)
ADDRESS = st.one_of(
    st.ip_addresses(v=4).map(str), st.ip_addresses(v=6).map(str), st.ip_addresses(v=6).map(lambda ip: f"{ip}%4")
)
PORT = st.integers(1, 65535)
STATE = st.sampled_from(["ESTABLISHED", "HERGESTELLT", "ABHÖREN", "SCHLIESSEN_WARTEN", "", "EN ESPERA", "接続"])


def endpoint(address: str, port: int) -> str:
    """As netstat and .NET write one."""
    return f"[{address}]:{port}" if ":" in address else f"{address}:{port}"


# --- netstat, tasklist, netsh -------------------------------------------------------------------


@given(st.lists(st.tuples(ADDRESS, PORT, ADDRESS, PORT, STATE, st.integers(0, 4_000_000_000)), max_size=8))
def test_what_netstat_lists_is_read_back_in_any_language(
    rows: list[tuple[str, int, str, int, str, int]],
) -> None:
    """Both ends and the process; of its states none."""
    lines = [
        f"  TCP    {endpoint(local, port):<22} {endpoint(remote, other):<22} {state:<15} {pid}\r"
        for local, port, remote, other, state, pid in rows
    ]

    found = list(netstat("\nAktive Verbindungen\n\n" + "\n".join(lines), {}))

    assert [(one.local_port, one.remote_port, one.pid, one.state) for one in found] == [
        (port, other, pid, "") for _, port, _, other, _, pid in rows
    ]
    assert [one.local for one in found] == [local.partition("%")[0] for local, *_ in rows]


@given(st.text(st.one_of(st.sampled_from("TCPUD []:%.*0123456789\n\t"), st.characters()), max_size=200))
def test_any_text_in_place_of_a_tools_output_is_survived(text: str) -> None:
    """Numbers without end, other digits, quotes that never close."""
    list(netstat(text, {}))
    tasklist(text)
    list(read(f"#Fields: date time sc-status\n{text}"))
    range_of([Section(name="range", at=AT, body=text, facts={"family": "ipv4"})], "ipv4")


def test_netstat_without_processes_is_read_too() -> None:
    """Old ones, and Wine's, which was run, have no such column."""
    (one,) = netstat("  TCP    10.0.0.8:49200         10.0.0.5:1433          ESTABLISHED\n", {})

    assert (one.local_port, one.remote_port, one.pid) == (49200, 1433, 0)


@pytest.mark.parametrize("none", ["N/A", "Nicht zutreffend", "N.v.t.", "该项不适用"])
def test_a_word_for_no_services_is_none(none: str) -> None:
    """Whatever it is: the idle process has it."""
    body = f'"System Idle Process","0","{none}"\n"w3wp.exe","6124","{none}"\n"svchost.exe","8","Dnscache,NlaSvc"\nnonsense\n'

    found = tasklist(body)

    assert found[6124] == {"pid": "6124", "process": "w3wp", "services": ""}
    assert found[8]["services"] == "Dnscache NlaSvc"


@pytest.mark.parametrize(
    "said",
    [
        "\nProtocol tcp Dynamic Port Range\n-----\nStart Port      : 49152\nNumber of Ports : 16384\n",
        "\nDynamischer Portbereich für Protokoll tcp\r\n-----\r\nStartport        : 49152\r\nAnzahl von Ports : 16384\r\n",
    ],
)
def test_the_ports_that_are_handed_out_are_two_numbers(said: str) -> None:
    """In English and German, as its documentation shows it."""
    part = Section(name="range", at=AT, body=said, facts={"family": "ipv4"})

    assert range_of([part], "ipv4") == Range(49152, 16384)
    assert range_of([part], "ipv6") is None


def test_german_and_english_netstat_say_the_same() -> None:
    """But for the names of programs and services."""
    english, german = (
        [one.text for one in connections(Reading(text=text, target="web-1"))]
        for text in (
            (RECORDINGS / "windows-connections" / f"netstat-{language}.txt").read_text()
            for language in ("english", "german")
        )
    )

    assert [
        text.replace("Bestellübersicht", "OrdersSync").replace("BestellSync", "OrdersSync") for text in german
    ] == english


def test_many_connections_that_are_closed_are_told_with_their_peer() -> None:
    """Where each is opened anew, ports are taken for minutes."""
    rows = "".join(f"10.0.0.8\t{20000 + n}\t10.0.0.7\t8080\tTimeWait\t0\t9\n" for n in range(6000))
    head = "local\tlocal_port\tremote\tremote_port\tstate\tpid\tage_s\n"

    (finding,) = connections(Reading(text=f"### connections at={AT.isoformat()}\n{head}{rows}", target="web-1"))

    assert finding.text.startswith("6,000 connections in TIME_WAIT to 10.0.0.7:8080: each is opened anew")


def test_ports_that_are_only_bound_are_in_use() -> None:
    """A program that binds and never connects uses them up as well, and is named; what listens does not count."""
    head = f"### range at={AT.isoformat()} family=ipv4\nStart Port : 50000\nNumber of Ports : 255\n### connections at={AT.isoformat()}\n"
    head += "local\tlocal_port\tremote\tremote_port\tstate\tpid\tage_s\n"
    bound = "".join(f"0.0.0.0\t{50000 + n}\t0.0.0.0\t0\tBound\t4420\t9\n" for n in range(240))
    listening = bound.replace("Bound", "Listen")

    (finding,) = connections(Reading(text=head + bound, target="web-1"))

    assert finding.text == "240 of 255 ports for new connections are in use: 240 by pid 4420"
    assert list(connections(Reading(text=head + listening, target="web-1"))) == []


# --- events -------------------------------------------------------------------------------------

TEXT = st.text(st.characters(exclude_categories=["Cs", "Cc"], exclude_characters="\ufffe\uffff"), max_size=20)
NAME = st.text(string.ascii_letters + "-", min_size=1, max_size=20)


def xml_of(event: Event) -> str:
    """As the schema has it."""
    at = datetime.fromtimestamp(event.at, tz=UTC).strftime("%Y-%m-%dT%H:%M:%S")
    data = "".join(
        f"<Data Name={quoteattr(name)}>{escape(value)}</Data>" if name else f"<Data>{escape(value)}</Data>"
        for name, value in event.data
    )
    return (
        "<Event xmlns='http://schemas.microsoft.com/win/2004/08/events/event'><System>"
        f"<Provider Name={quoteattr(event.provider)}/><EventID Qualifiers='0'>{event.id}</EventID><Level>{event.level}</Level>"
        f"<TimeCreated SystemTime='{at}.1234567Z'/><Channel>{escape(event.channel)}</Channel></System>"
        f"<EventData>{data}<Binary>{event.binary}</Binary></EventData></Event>"
    )


EVENT = st.builds(
    Event,
    at=st.integers(0, 4_000_000_000).map(float),
    channel=TEXT,
    provider=TEXT,
    id=st.integers(0, 65535),
    level=st.integers(0, 5),
    data=st.lists(st.tuples(st.one_of(st.just(""), NAME), TEXT), max_size=5).map(tuple),
    binary=st.binary(max_size=6).map(bytes.hex),
)


@given(st.lists(st.tuples(TEXT.filter(lambda text: "<Event" not in text), EVENT), max_size=5))
def test_events_are_read_back_from_between_anything(parts: list[tuple[str, Event]]) -> None:
    """Other text, line ends or nothing at all may stand between them."""
    text = "".join(between + xml_of(event) for between, event in parts)

    assert list(events(text)) == [event for _, event in parts]


@given(EVENT, st.integers(0, 400))
def test_an_event_that_was_cut_harms_no_other(event: Event, length: int) -> None:
    """The end of an artifact may be anywhere, and so may the beginning of what came next."""
    whole = xml_of(event)
    cut = whole[: min(length, len(whole) - 1)]

    assert list(events(cut + whole)) == [event]
    assert list(events(whole + cut)) == [event]


BOMB = (
    '<!DOCTYPE Event [<!ENTITY a "aaaaaaaaaa"><!ENTITY b "&a;&a;&a;&a;&a;&a;&a;&a;">]>'
    "<Event><System><EventID>&b;</EventID></System></Event>"
)


@pytest.mark.parametrize(
    "text",
    [
        BOMB,
        "<Event><!ENTITY x SYSTEM 'file:///etc/passwd'><System/></Event>",
        "<Event><System><EventID>1</EventID></System></Event>",  # no time
        "<Event><System><EventID>99999999999</EventID><TimeCreated SystemTime='2026-11-23T03:10:04Z'/></System></Event>",
        "<Event><System><EventID>²</EventID><TimeCreated SystemTime='2026-11-23T03:10:04Z'/></System></Event>",
        "<Event><System><EventID>1</EventID><TimeCreated SystemTime='2026-13-23T03:10:04Z'/></System></Event>",
        "<Event>" + "<a>" * 9000 + "</Event>",
        "<Other/>",
        "\ud800",
    ],
)
def test_what_is_no_event_is_none(text: str) -> None:
    """Entities that would grow, files of this machine, dates that are none, and depth."""
    assert event_of(text) is None
    assert list(events(text)) == []


def test_a_text_of_many_beginnings_is_read_in_little_time() -> None:
    """Each is looked at once."""
    assert list(events("<Event " * 300_000)) == []
    assert list(events("<Event >" * 100_000 + "</Event>")) == []


@pytest.mark.parametrize(
    ("binary", "says"),
    [
        ("57006400 4E00690073005300760063000000".replace(" ", ""), "WdNisSvc"),
        ("5300700 0".replace(" ", ""), "Sp"),
        ("00D8", ""),
        ("0F01", "ď"),
        ("xyz", ""),
        ("", ""),
    ],
)
def test_names_in_binary_data_are_read(binary: str, says: str) -> None:
    """As the service control manager leaves them; the first is from a published event 7001."""
    assert text_of(binary) == says


def test_times_have_up_to_nine_digits() -> None:
    """And nothing else is one."""
    assert time_of("2026-11-23T03:10:04.123456700Z") == time_of("2026-11-23T03:10:04Z") == 1795403404.0
    assert time_of("23.11.2026 03:10") is None


def an_event(provider: str, number: int, *values: str, binary: str = "") -> Event:
    """One with values that have no names."""
    data = tuple(("", value) for value in values)
    return Event(at=0.0, channel="Application", provider=provider, id=number, level=2, data=data, binary=binary)


@pytest.mark.parametrize(
    ("event", "says"),
    [
        (
            an_event("Application Error", 1000, "a.exe", "1", "2", "b.dll", "1", "2", "c00000fd", "0"),
            "a.exe crashed in b.dll: 0xC00000FD (stack overflow)",
        ),
        (an_event("Application Error", 1000), "A program crashed in ?: no code"),
        (
            an_event("Windows Error Reporting", 1001, "", "4", "BEX64", "", "0", "a.exe", "1", "2", "b.dll", "3", "4", "5", "c0000409", "7"),
            "a.exe crashed in b.dll: 0xC0000409 (fail fast, or a buffer overrun)",
        ),
        (
            an_event("Windows Error Reporting", 1001, "", "5", "CLR20r3", "", "0", "a.exe", "1", "2", "b", "3", "4", "5", "6", "System.IO.IOException"),
            "a.exe ended by System.IO.IOException",
        ),
        (an_event("Windows Error Reporting", 1001, "", "0", "WindowsUpdateFailure3", "", "0"), None),
        (
            an_event(".NET Runtime", 1026, "Application: Shop.Api.exe\nCoreCLR Version: 8.0\nUnhandled exception. System.InvalidOperationException: no\n"),
            "Shop.Api.exe ended by System.InvalidOperationException",
        ),
        (an_event(".NET Runtime", 1026, "かなり"), "A .NET program ended by a .NET exception that nobody caught"),
        (an_event(".NET Runtime", 1025, "Anwendung: a b.exe"), "b.exe ended itself (FailFast)"),
        (an_event("Service Control Manager", 7034, "Druckwarteschlange", "1"), "Service Druckwarteschlange ended unexpectedly"),
        (an_event("Microsoft-Windows-Kernel-Power", 41, "0"), "The host restarted without shutting down: a reset, or power was lost"),
        (an_event("BugCheck", 1001, "0x000000ef (0x1)"), "The host stopped with a blue screen: code 0xEF"),
        (an_event("Somebody", 1000, "a.exe"), None),  # the same number of another source
    ],
)  # fmt: skip
def test_a_crash_is_known_by_source_number_and_values(event: Event, says: str | None) -> None:
    """As they are documented; no text that is translated is read."""
    crash = crash_of(event)

    assert (f"{crash.what} {crash.how}" if crash else None) == says


def test_a_crash_offers_a_dump_of_the_next_one() -> None:
    """With parameters that the recipe takes; where the name is no name, nothing is offered."""
    recipe = load_folder(builtin_folder())["procdump"]
    crashed = an_event("Application Error", 1000, "Größe 2.exe", "", "", "b.dll", "", "", "c0000005")
    hung = an_event("Application Hang", 1002, "a.exe")
    service = an_event("Service Control Manager", 7034, "x", binary="SQLAgent$ERP".encode("utf-16-le").hex())
    odd = an_event("Application Error", 1000, 'a"b.exe')
    power = an_event("Microsoft-Windows-Kernel-Power", 41, "159")

    offered = [each.next for event in (crashed, hung, service, odd, power) for each in crashes([event], 0.0)]

    assert [one.parameters for next_ in offered for one in next_] == [
        {"app": "Größe 2.exe", "when": "exception"},
        {"app": "a.exe", "when": "hang"},
        {"app": "SQLAgent$ERP", "when": "exception"},
    ]
    for one in (one for next_ in offered for one in next_):
        bind_parameters(recipe, {name: str(value) for name, value in one.parameters.items()})


HOSTILE = "evil\x1b[31m\u202e<!channel> *b*\n### events at=now"


@given(
    st.one_of(
        EVENT,
        st.builds(
            an_event,
            st.sampled_from(["Application Error", ".NET Runtime", "BugCheck"]),
            st.sampled_from([1000, 1001, 1026]),
            st.text(),
        ),
    )
)
def test_any_values_of_a_crash_make_a_clean_sentence(event: Event) -> None:
    """Programs are called by whoever made them."""
    crash = crash_of(event)

    if crash:
        assert f"{crash.what} {crash.how}".isprintable()


def findings(minutes: int, rows: str, *, begun: str = "2026-11-22T02:10:00Z") -> list[Finding]:
    """What is said of events of the System log, given as ``at TAB provider TAB id TAB level``."""
    lines = "".join(f"{at}\tSystem\t{more}\n" for at, _, more in (row.partition("\t") for row in rows.splitlines()))
    text = (
        f"### events at={AT.isoformat()} minutes={minutes}\nat\tchannel\tprovider\tid\tlevel\n{lines}"
        f"### channels at={AT.isoformat()}\nchannel\tevents\tfrom\terror\nSystem\t9\t{begun}\t\n"
    )
    return list(log_events(Reading(text=text, target="web-1")))


def test_what_was_not_read_is_not_called_new() -> None:
    """Where so many came that only the last minute of them was read."""
    rows = "\n".join(f"2026-11-23T03:09:{second:02}Z\tdisk\t153\t3" for second in range(60))

    assert [one.text for one in findings(60, rows, begun="2026-11-23T03:09:00Z")] == []
    (new,) = findings(60, rows)
    assert new.level is Level.WARN
    assert new.text.startswith("disk 153 (warning: a request was tried again) is new since 03:09:00 UTC")


@pytest.mark.parametrize(("number", "is_new"), [(499, True), (500, False)])
def test_the_newest_that_wevtutil_was_asked_for_do_not_tell_what_was_before(number: int, is_new: bool) -> None:  # noqa: FBT001 — a column of the table above
    """They may be all of the last minutes alone."""
    made = [Event(at=AT.timestamp() - n / 5, channel="System", provider="Shop", id=7, level=2) for n in range(number)]
    text = (
        f"### events at={AT.isoformat()} minutes=60\nat\tchannel\tprovider\tid\tlevel\n"
        f"### channels at={AT.isoformat()}\nchannel\tevents\tfrom\terror\nSystem\t0\t2026-11-22T02:10:00Z\tx\n"
        f"### wevtutil at={AT.isoformat()} channel=System\n" + "\n".join(map(xml_of, made))
    )

    said = [finding.text for finding in log_events(Reading(text=text, target="web-1"))]

    assert any("is new since" in sentence for sentence in said) is is_new
    assert len(said) == 1


def test_a_source_with_a_hostile_name_steers_nothing() -> None:
    """Any program may call itself so."""
    name = words.clean(HOSTILE)
    rows = "\n".join(f"2026-11-23T03:09:{second:02}Z\t{HOSTILE.replace(chr(10), ' ')}\t1\t2" for second in range(40))

    (finding,) = findings(60, rows)

    assert name.startswith("evil <!channel> *b*")
    assert finding.text.isprintable()
    assert finding.level is Level.BAD


# --- IIS ----------------------------------------------------------------------------------------


def test_fields_may_change_within_a_log() -> None:
    """Each list of them holds for what stands below it; a line that was cut is passed over."""
    body = (
        "2026-11-23 02:59:59 GET / 200\n"  # before any
        "#Fields: date time cs-method cs-uri-stem sc-status\n2026-11-23 03:00:00 GET /a 500\n"
        "#Fields: date time sc-status sc-substatus time-taken cs-uri-stem\n2026-11-23 03:00:01 503 2 12 /b\n2026-11-23 03:00:02 5"
    )

    assert [(one.path, one.status, one.detail, one.took_ms) for one in read(body)] == [
        ("/a", 500, "500", 0.0),
        ("/b", 503, "503.2", 12.0),
    ]
