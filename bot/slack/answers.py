"""Ephemeral answers to `/capture` and to presses: help, list, status, refusals. Pure text in Slack's mrkdwn."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from bot.baselines.schedule import Planned
from bot.command import USAGE
from bot.desk.offers import command
from bot.errors import UserError
from bot.insights import words
from bot.model import (
    ApprovalAsked,
    Artifact,
    Capture,
    Compared,
    MarkedGood,
    Offered,
    Parameter,
    Place,
    Recipe,
    Service,
    Trigger,
)
from bot.permission.menu import Menu
from bot.reporters import compared as lines_of
from bot.reporters.pagerduty import marker
from bot.reporters.slack_buttons import Block
from bot.reporters.slack_message import escape, size
from bot.story import Story

FIRST_LOOK = "triage"
TARGETS_LISTED = 60
DIFFERENCES_SHOWN = 15
BASELINES_SHOWN = 10
REQUESTS_SHOWN = 10
HEADLINE_CHARS = 300  # of each capture in `status`; Slack cuts an answer at 40,000


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What is shown to one person; *instead* of the message that was pressed, which only that person sees too."""

    text: str
    blocks: tuple[Block, ...] = ()
    instead: bool = False


def refusal(error: UserError) -> str:
    """What is wrong and how to mend it. Names in it came from people and hosts, so they are escaped."""
    return f"❌ {escape(str(error))}"


def started(capture: Capture, place: Place) -> str:
    """What the asker alone sees at once; the story itself follows in the channel."""
    where = "this thread" if place.thread_ts else f"<#{place.channel}>"
    return (
        f"🕓 `{capture.id}`: {escape(capture.recipe_title)} on {escape(', '.join(capture.targets))} — "
        f"{capture.impact.words}. The result comes in {where}."
    )


def already(capture: Capture) -> str:
    """Somebody pressed the same button before, or Slack delivered a command twice."""
    return (
        f"👉 {escape(capture.who.name)} started that already: `{capture.id}`, "
        f"{escape(capture.recipe_title)} on {escape(', '.join(capture.targets))}."
    )


def joined(trigger: Trigger, capture: Capture, *, ago_s: float, thread: str) -> str:
    """There is such a capture: where it is told, and how to have another one all the same."""
    who = "You" if trigger.who.id == capture.who.id else escape(capture.who.name)
    told = f"<{thread}|its thread>" if thread else "its thread"
    here = trigger.place
    if here and not (capture.place and capture.place.channel == here.channel):
        told += ", and in this channel too"
    return (
        f"👉 {who} asked for that {_ago(ago_s)}: `{capture.id}`, {escape(capture.recipe_title)} on "
        f"{escape(', '.join(capture.targets))}. It is told in {told}.\n"
        f'To take another one: `{escape(command(trigger))} force="why"`'
    )


def _ago(seconds: float) -> str:
    return f"{seconds:.0f} s ago" if seconds < 120 else f"{seconds / 60:.0f} minutes ago"


def measuring(trigger: Trigger) -> str:
    """What the asker reads while the cost is measured, where that takes long."""
    return f"⏱️ Measuring what `{trigger.recipe}` would cost {escape(', '.join(trigger.targets))} …"


def declined(offered: Offered) -> str:
    """Nobody pays anything."""
    return f"Nothing was captured. To be asked again: `{escape(command(offered.trigger))}`"


def asked(request: ApprovalAsked) -> str:
    """Somebody else must approve first."""
    # Only one person reads this: a mention calls nobody.
    may = f" May approve: {', '.join(map(_named, request.approvers))}." if request.approvers else ""
    return (
        f"🔏 Somebody else must approve of {escape(command(request.trigger))} first, "
        f"until {_date(request.until)}.{may} The request stands here for them."
    )


def _named(approver: str) -> str:
    """Somebody whom a rule names, as Slack shows them by name."""
    if re.fullmatch("[UW][A-Z0-9]{2,20}", approver):
        return f"<@{approver}>"
    return f"<!subteam^{approver}>" if re.fullmatch("S[A-Z0-9]{2,20}", approver) else escape(approver)


def stopping(capture: Capture) -> str:
    """A stop was asked for; its proof comes in the thread."""
    return f"✋ Stopping `{capture.id}`. Its thread says when everything on the target has ended."


def good(capture: Capture, marked: MarkedGood) -> str:
    """A capture is what later ones are held against."""
    by = "taken on schedule" if marked.by_schedule else f"marked by {escape(marked.who.name)}"
    return (
        f"👍 `{capture.id}` ({escape(capture.recipe_title)} on {escape(', '.join(capture.targets))}) is good, {by}. "
        "The next captures of the same are compared with it."
    )


def compared(what: Compared, told: Story) -> str:
    """What differs, for the asker; it stands in the capture's thread too."""
    lines = [lines_of.first_line(what), *lines_of.differences(told, what)[:DIFFERENCES_SHOWN]]
    return "\n".join(escape(line) for line in lines)


def reported(artifact: Artifact) -> str:
    """Where the report lies."""
    name = f"{artifact.key.rsplit('/', 1)[-1]} ({size(artifact.size_bytes)})"
    where = (
        f"<{artifact.url}|{escape(name)}>"
        if artifact.url.startswith(("http://", "https://"))
        else escape(f"{name} {artifact.url}")
    )
    trouble = f" {escape(artifact.trouble)}" if artifact.trouble else ""
    return f"📄 Everything of this channel and its incident, as Markdown: {where} · sha256 `{artifact.sha256}`{trouble}"


def linked(incident: str, title: str) -> str:
    """A channel now belongs to an incident."""
    return (
        f"🔗 This channel now belongs to PagerDuty incident {escape(incident)}"
        f"{': ' + escape(title) if title else ''}. Its captures are told in the incident's note."
    )


def sent(told: Story, incident: str, *, url: str, new: bool) -> str:
    """Where a capture is told in PagerDuty, and how that note is known among others; *new*: it is from now on."""
    name = f"PagerDuty incident {escape(incident)}"
    where = f"<{url}|{name}>" if url.startswith(("http://", "https://")) else name
    note = f"in the note of {where} that ends with `{escape(marker(incident))}`"
    if told.note_trouble and not new:
        return f"📝 `{told.capture.id}` belongs {note}, which could not be written: {escape(told.note_trouble)}"
    if new or not told.note_id:
        return f"📝 `{told.capture.id}` will stand {note}, in a few seconds."
    return f"📝 `{told.capture.id}` stands {note}, and is kept current there."


def help_all(menu: Menu) -> str:
    """How `/capture` is used."""
    lines = [
        f"*Keep the evidence before it is restarted away*: {USAGE}",
        *(f"• `{recipe.name}` — {escape(recipe.title)}" for recipe in _cheap_first(menu.recipes)),
        *(["`/capture SERVICE` what runs at once when it has an incident:"] if menu.services else []),
        *_services(menu.services),
        "",
        "`/capture help RECIPE` what one keeps, its parameters and its cost",
        "`/capture list` recipes and targets · `/capture status` what runs · `/capture stop ID` ends one",
        "`/capture compare ID [ID]` what is new, gone and changed since the last good one · `/capture good ID` marks one",
        "`/capture note TEXT` puts your words into the notes of this channel's incident",
        "`/capture report` all that was captured here as one document",
        "`/capture link INCIDENT` tells this channel's captures in a PagerDuty incident's note",
    ]
    return "\n".join(lines)


def help_recipe(recipe: Recipe, fitting: Sequence[str]) -> str:
    """What one recipe keeps, costs and takes, and which targets it is for."""
    lines = [
        f"*{escape(recipe.title)}* (`{recipe.name}`): {escape(' '.join(recipe.about.split()))}",
        f"Cost: {recipe.impact.words}{'; it is measured first, and you are asked' if recipe.asks_first else ''}.",
        "Keeps: " + "; ".join(escape(step.title) for step in recipe.steps) + ".",
    ]
    if recipe.parameters:
        lines += ["Parameters:", *(f"• {_parameter(parameter)}" for parameter in recipe.parameters)]
    example = fitting[0] if fitting else "TARGET"
    lines.append(f"Targets: {_names(fitting)}. Try `/capture {recipe.name} {example}`")
    return "\n".join(lines)


def help_service(service: Service) -> str:
    """What a service runs at once, of what, and what it offers."""
    lines = [
        f"*{escape(service.name)}*{f': {escape(service.about)}' if service.about else ''}",
        f"At once, when it has an incident or on `/capture {service.name}`: {_coded(service.first) or 'nothing'}.",
        f"Of its targets: {_names(service.targets)}, each recipe of those that it is for.",
    ]
    if service.offer:
        lines.append(f"Its incident channels offer: {_coded(service.offer)}.")
    return "\n".join(lines)


def _services(services: Mapping[str, Service]) -> list[str]:
    return [
        f"• `{service.name}`{f' — {escape(service.about)}' if service.about else ''} · {_coded(service.first) or 'nothing'}"
        for service in services.values()
    ]


def _coded(names: Sequence[str]) -> str:
    return ", ".join(f"`{name}`" for name in names)


def _parameter(parameter: Parameter) -> str:
    bounds = ""
    given = parameter.default not in ("", 0)  # by itself; where that is 0, it stands for nothing
    if (parameter.minimum is not None or parameter.maximum is not None) and (given or parameter.minimum):
        bounds = f", {parameter.minimum} to {parameter.maximum}"
    if parameter.choices:
        bounds = ", one of " + ", ".join(parameter.choices)
    default = f", `{parameter.default}` when left out" if given else ""
    return f"`{parameter.name}` {escape(parameter.about)} ({parameter.type}{bounds}{default})"


def listing(menu: Menu) -> str:
    """Recipes with the targets of each, and services with what each runs at once."""
    lines = [
        f"• `{recipe.name}` — {escape(recipe.title)} · {_names(menu.targets[recipe.name])}"
        for recipe in _cheap_first(menu.recipes)
    ]
    if menu.services:
        lines += ["*Services*", *_services(menu.services)]
    return "\n".join(lines) or "There is nothing that you may run here."


def _cheap_first(recipes: Mapping[str, Recipe]) -> list[Recipe]:
    """What a tired person should read first: the first look, then what costs nothing to ask for, then the rest."""
    return sorted(recipes.values(), key=lambda recipe: (recipe.asks_first, recipe.name != FIRST_LOOK, recipe.name))


def _names(names: Sequence[str]) -> str:
    if not names:
        return "no target is set up for it"
    more = f" and {len(names) - TARGETS_LISTED} more" if len(names) > TARGETS_LISTED else ""
    return ", ".join(f"`{name}`" for name in names[:TARGETS_LISTED]) + more


def _planned(one: Planned) -> str:
    """When a baseline is taken, and how many targets have a good one."""
    baseline, newest = one.baseline, list(one.newest.values())
    last = max(newest, key=lambda good: good.taken_at, default=None)
    good = f"last good `{last.capture_id}` {_date(last.taken_at)}" if last else "none is good yet"
    lacks = f", {len(newest)} of {len(baseline.targets)} targets have one" if last and len(baseline.targets) > 1 else ""
    every = words.duration(baseline.every_s)
    return (
        f"🗓️ `{baseline.recipe}` of {escape(', '.join(baseline.targets[:3]))} every {every}: {good}{lacks}, "
        f"next {_date(one.next_due)}"
    )


def _date(at: datetime) -> str:
    return f"<!date^{int(at.timestamp())}^{{date_short_pretty}} {{time}}|{at:%Y-%m-%d %H:%M} UTC>"


def _waiting(request: ApprovalAsked) -> str:
    what = f"{request.trigger.recipe} on {', '.join(request.seal.targets)}"
    return f"🔏 {escape(what)}, asked for by {escape(request.trigger.who.name)}, waits for an approval until {_date(request.until)}"


def status(
    stories: Sequence[Story],
    *,
    untold: Mapping[str, str],
    asked: Sequence[ApprovalAsked] = (),
    baselines: Sequence[Planned] = (),
    left: str = "",
) -> str:
    """What somebody must approve of here, what runs and ran lately, what is taken on schedule, what is *left* of budgets."""
    lines = [_waiting(one) for one in asked[:REQUESTS_SHOWN]]
    if not stories and not baselines:
        lines.append("Nothing was captured yet. `/capture help` says how.")
    for story in stories:
        capture = story.capture
        lines.append(
            f"{story.state.icon} `{capture.id}` {escape(capture.recipe)} on {escape(', '.join(capture.targets[:3]))}, "
            f"{_date(capture.at)}: "
            f"{escape(words.clean(story.headline, HEADLINE_CHARS))}"
        )
    lines += [_planned(one) for one in baselines[:BASELINES_SHOWN]]
    lines += [f"📮 Not told yet ({escape(what)}): {escape(reason)}" for what, reason in untold.items()]
    lines += [f"🪙 {escape(left)}"] if left else []
    return "\n".join(lines)
