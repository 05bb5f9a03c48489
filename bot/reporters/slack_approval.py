"""A request for an approval as a message where it was asked, and the broken glass as one for the whole channel. Pure.

Nobody is called by it: groups stand there by their handles, people by their names.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType

from bot.approvals import Request
from bot.approvals.approving import ending
from bot.desk.offers import command
from bot.model import DIGEST_SHOWN, Ruling
from bot.reporters.slack_buttons import Block, actions, button, plain
from bot.reporters.slack_message import Line, Message, Span, compose, moment

APPROVE, DENY, GLASS = "approve", "deny", "glass"  # action ids
COMMANDS_SHOWN = 4
COMMAND_CHARS = 200  # of each; the digest is over all of it
APPROVERS_SHOWN = 8
QUOTE = "'"
NO_NAMES: Mapping[str, str] = MappingProxyType({})
CONFIRM_CHARS = 300  # Slack's limit


def message(
    request: Request, *, names: Mapping[str, str] = NO_NAMES, mask: Callable[[str], str] = lambda text: text
) -> Message:
    """The request with its buttons while it waits, and then how it ended.

    *names* are of people and groups whom rules name by id; *mask* takes secrets out of what was typed and what runs.
    """
    asked, ruled = request.asked, request.ruled
    trigger = asked.trigger
    what = f"{trigger.recipe} on {', '.join(asked.seal.targets)}"
    if ruled:
        head = f"{ruled.ruling.icon} {what}, asked for by {trigger.who.name}, {ending(request).replace('`', '')}"
        lines: list[Line] = [(Span(head, bold=True), Span(" "), moment(ruled.at))]
        if ruled.ruling is Ruling.GLASS:
            lines.append((Span(f"Reason: {ruled.reason}"),))
        lines.append(_sealed(request, mask))
        return compose(lines)
    lines = [
        (Span(f"🔏 {trigger.who.name} asks to capture {what}", bold=True),),
        (Span(f"⚖️ {_risk(request)}. {asked.because.replace('`', QUOTE)}"),),
    ]
    if request.measured and request.measured.worse:
        was = f" It was asked for when it {asked.cost}." if asked.cost else ""
        lines.append((Span("⚠️ Measured anew, and more than it was: approve it once more.", bold=True), Span(was)))
    if trigger.force:
        lines.append((Span(f"⏩ Although there is one already, because: {mask(trigger.force)}"),))
    lines += [(Span("Runs: "), Span(_short(mask(one)), code=True)) for one in asked.seal.commands[:COMMANDS_SHOWN]]
    if (more := len(asked.seal.commands) - COMMANDS_SHOWN) > 0:
        lines.append((Span(f"and {more} more commands"),))
    lines += [_sealed(request, mask), _approvers(request, names)]
    spoken: list[Line] = [(Span(f"It was asked for by {mask(command(trigger))}"),)]
    return compose(lines, blocks=_buttons(request, what), spoken=spoken)


def broken_glass(request: Request) -> Message:
    """What the channel reads when somebody went without an approval."""
    asked, ruled = request.asked, request.ruled
    reason = ruled.reason if ruled else ""
    who = asked.trigger.who.name
    lines: list[Line] = [
        (Span(f"🚨 {who} broke the glass: {asked.trigger.recipe} on {', '.join(asked.seal.targets)} runs", bold=True),),
        (Span(f"Nobody approved of it. Reason: {reason}"),),
        (
            Span(f"⚖️ {_risk(request)}. Stop it with "),
            Span(f"/capture stop {ruled.capture_id if ruled else ''}", code=True),
        ),
    ]
    return compose(lines)


def _risk(request: Request) -> str:
    """What the recipe's author says of it, and what was measured."""
    impact, measured = request.asked.impact.words, request.cost
    said = impact if measured.startswith(impact) else f"{impact}: {measured}"
    return said[:1].upper() + said[1:]


def _sealed(request: Request, mask: Callable[[str], str]) -> Line:
    """What it is bound to: a digest that two people can compare, and what that is over."""
    sealed = request.asked.seal
    given = mask("".join(f", {name}={value}" for name, value in sealed.parameters.items() if value != ""))
    over = f", over what runs, how {', '.join(sealed.targets)} is reached{given}, and "
    over += f"incident {sealed.incident}" if sealed.incident else "no incident"
    return (Span("Digest "), Span(sealed.digest[:DIGEST_SHOWN], code=True), Span(over))


def _approvers(request: Request, names: Mapping[str, str]) -> Line:
    asked = request.asked
    shown = ", ".join(names.get(one, one) for one in asked.approvers[:APPROVERS_SHOWN]) or "nobody"
    more = f" and {len(asked.approvers) - APPROVERS_SHOWN} more" if len(asked.approvers) > APPROVERS_SHOWN else ""
    return (Span(f"May approve, but not {asked.trigger.who.name}: {shown}{more}. Until "), moment(asked.until))


def _buttons(request: Request, what: str) -> list[Block]:
    approval_id = request.asked.approval_id
    sure = {
        "title": plain(f"Approve {what}?", 100),
        "text": plain(f"{_risk(request)}. It starts at once, in your name too.", CONFIRM_CHARS),
        "confirm": plain("Approve"),
        "deny": plain("Cancel"),
        "style": "danger",
    }
    glass = [button(GLASS, "Break glass …", approval_id, style="danger")] if request.asked.break_glass else []
    return actions(
        [
            button(APPROVE, "Approve", approval_id, style="primary", confirm=sure),
            button(DENY, "Deny", approval_id),
            *glass,
        ]
    )


def _short(text: str) -> str:
    text = " ".join(text.split())
    return text if len(text) <= COMMAND_CHARS else text[: COMMAND_CHARS - 1] + "…"
