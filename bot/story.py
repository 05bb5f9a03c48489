"""What people see: a pure fold of a capture's events, the same for every reporter."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

from bot.model import (
    Accepted,
    Artifact,
    Capture,
    Compared,
    Event,
    Finding,
    Finished,
    Followed,
    Joined,
    Level,
    MarkedGood,
    Moved,
    NoteFailed,
    NoteWritten,
    Outcome,
    Person,
    Place,
    Reported,
    Shown,
    Started,
    State,
    StepFinished,
    StepResult,
    StepStarted,
    StopAsked,
)

PROOFS_AT_MOST = 4  # of steps that had to be ended, in one line
BROUGHT_HOME = "The store refused it at first; capturebot's own disk kept it until the store took it."


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """A finding with where it was read."""

    finding: Finding
    target: str
    step: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Story:
    """A capture as far as it has come."""

    capture: Capture
    state: State = State.ACCEPTED
    results: tuple[StepResult, ...] = ()  # in the order they ended
    running: tuple[tuple[str, str], ...] = ()  # (target, step id) under way
    started_at: datetime | None = None
    ended_at: datetime | None = None
    stop_asked_by: Person | None = None
    manifest: Artifact | None = None
    saved: tuple[Artifact, ...] = ()  # found by the sweep after an interruption
    reason: str = ""  # why it ended as it did, where that needs saying
    error_id: str = ""
    moved: Mapping[str, Artifact] = field(default_factory=dict)  # by the key that each had elsewhere
    note_id: str = ""  # the PagerDuty note that tells it
    report: Artifact | None = None  # the newest that ends with this capture
    note_trouble: str = ""  # why the note could not be written, so far
    followed: tuple[Followed, ...] = ()  # what its buttons started
    good: MarkedGood | None = None  # somebody, or the schedule, took it for good
    compared: tuple[Compared, ...] = ()  # with others, and its targets with each other
    joined: tuple[Joined, ...] = ()  # who asked for the same meanwhile
    shown: tuple[Place, ...] = ()  # channels that its incidents were linked to since

    @property
    def places(self) -> tuple[Place, ...]:
        """Where it is told, each channel once: where it was asked for, also by those who joined, and its incidents'."""
        there = (self.capture.place, *(one.place for one in self.joined), *self.shown)
        channels: dict[str, Place] = {}
        for place in there:
            if place is not None:
                channels.setdefault(place.channel, place)
        return tuple(channels.values())

    @property
    def steps_in_all(self) -> int:
        """Steps over all targets."""
        return len(self.capture.steps) * len(self.capture.targets)

    @property
    def took(self) -> timedelta | None:
        """From acceptance to the end; None while it runs."""
        return self.ended_at - self.capture.at if self.ended_at else None

    @property
    def findings(self) -> tuple[Told, ...]:
        """All findings, worst and weightiest first; equals keep the order they came in."""
        told = [
            Told(finding=finding, target=result.target, step=result.step)
            for result in self.results
            for finding in result.findings
        ]
        return tuple(sorted(told, key=lambda t: (-t.finding.level.value, -t.finding.weight)))

    @property
    def culprit(self) -> Told | None:
        """The finding that the first line is made of: the first that is more than information, or was asked for."""
        return next(
            (told for told in self.findings if told.finding.level is not Level.INFO or told.finding.answer), None
        )

    @property
    def headline(self) -> str:
        """The first line that people read: the culprit, or that there is none, in one sentence."""
        if culprit := self.culprit:
            others = f"{culprit.target}: " if len(self.capture.targets) > 1 else ""
            return others + culprit.finding.text
        if not self.state.ended:
            return f"Capturing {self.capture.recipe_title.lower()} of {', '.join(self.capture.targets)}"
        if gaps := [result for result in self.results if result.outcome is not Outcome.OK]:
            if len(gaps) == len(self.results):
                return f"Nothing could be captured: {gaps[0].reason}"
            return f"Nothing unusual in what could be captured; {len(gaps)} of {self.steps_in_all} steps have gaps"
        if self.state in (State.COMPLETE, State.PARTIAL):
            return "Nothing unusual found"
        return self.reason or f"The capture {self.state.words}"

    @property
    def artifacts(self) -> tuple[Artifact, ...]:
        """Everything kept, in the order it was kept; after an interruption also what the sweep found."""
        kept = [artifact for result in self.results for artifact in result.kept]
        known = {artifact.key for artifact in kept}
        return (*kept, *(artifact for artifact in self.saved if artifact.key not in known))

    @property
    def files(self) -> tuple[Artifact, ...]:
        """Everything kept, and last the manifest."""
        return (*self.artifacts, self.manifest) if self.manifest else self.artifacts

    @property
    def away(self) -> tuple[Artifact, ...]:
        """What does not lie in the store yet, the manifest too."""
        return tuple(artifact for artifact in self.files if artifact.trouble)

    @property
    def away_words(self) -> str:
        """Where the files are that the store refused, in one sentence; "" when all lie where they belong."""
        if not self.away:
            return ""
        files = "1 file waits" if len(self.away) == 1 else f"{len(self.away)} files wait"
        return f"{files} on capturebot's own disk until the store takes them."

    @property
    def broken_off(self) -> str:
        """What steps that had to be ended left there and here, in one sentence; "" where none had to be."""
        broken = [one for one in self.results if one.stop_proof]
        several = len(self.capture.targets) > 1
        said = list(dict.fromkeys((f"{one.target}: " if several else "") + one.stop_proof for one in broken))
        if not said:
            return ""
        more = [f"{len(said) - PROOFS_AT_MOST} more ends below"] if len(said) > PROOFS_AT_MOST else []
        files = sum(len(one.kept) for one in broken)
        partial = f", {'1 partial file' if files == 1 else f'{files} partial files'} kept" if files else ""
        return "; ".join(said[:PROOFS_AT_MOST] + more) + partial

    @property
    def masked(self) -> int:
        """How many secrets were masked."""
        return sum(self.masked_kinds.values())

    @property
    def masked_kinds(self) -> Mapping[str, int]:
        """How many secrets of each kind were masked."""
        return sum((Counter(result.masked) for result in self.results), Counter())


def receipt(masked: Mapping[str, int]) -> str:
    """What was masked, by kind, as one line without an end: "14 secrets of 2 kinds masked (9 password, 5 jwt)"."""
    count, kinds = sum(masked.values()), sorted(masked, key=lambda kind: (-masked[kind], kind))
    what = f"{count} secret{'s' * (count != 1)}"
    if len(kinds) <= 1:
        return f"{what} masked" + "".join(f" ({kind})" for kind in kinds)
    return f"{what} of {len(kinds)} kinds masked ({', '.join(f'{masked[kind]} {kind}' for kind in kinds)})"


def begin(event: Accepted) -> Story:
    """The story of a capture that was just accepted."""
    return Story(capture=event.capture)


def go_on(story: Story, event: Event) -> Story:
    """The story after one more event of its capture; events it cannot use leave it as it is."""
    match event:
        case Started(at=at):
            return replace(story, state=State.RUNNING, started_at=at)
        case StepStarted(target=target, step=step):
            return replace(story, running=(*story.running, (target, step)))
        case StepFinished(result=result):
            place = (result.target, result.step)
            still = tuple(pair for pair in story.running if pair != place)
            # A commit whose answer was lost is made again: the same step ends once all the same.
            others = tuple(one for one in story.results if (one.target, one.step) != place)
            return _at_home(replace(story, running=still, results=(*others, result)))
        case StopAsked(who=who):
            return story if story.state.ended else replace(story, stop_asked_by=story.stop_asked_by or who)
        case Finished():
            ended = replace(
                story,
                state=event.state,
                running=(),
                ended_at=event.at,
                manifest=event.manifest,
                reason=event.reason,
                error_id=event.error_id,
                saved=event.saved,
                # Who asked for a stop that came too late did not stop it.
                stop_asked_by=None if event.state is State.COMPLETE else story.stop_asked_by,
            )
            return _at_home(ended)
        case Moved(key=key, artifact=artifact):
            return _at_home(replace(story, moved={**story.moved, key: artifact}))
        case _:
            return _beside(story, event)


def _beside(story: Story, event: Event) -> Story:
    """The story after what became of it, other than its run."""
    match event:
        case Followed():
            return replace(story, followed=(*story.followed, event))
        case Joined():
            return replace(story, joined=(*story.joined, event))
        case Shown(place=place):
            return replace(story, shown=(*story.shown, place))
        case MarkedGood():
            return replace(story, good=story.good or event)
        case Compared():
            return replace(story, compared=(*story.compared, event))
        case NoteWritten(note_id=note_id):
            return replace(story, note_id=note_id, note_trouble="")
        case Reported(artifact=artifact):
            return _at_home(replace(story, report=artifact))
        case NoteFailed(reason=reason):
            return replace(story, note_trouble=reason)
        case _:
            return story


def _at_home(story: Story) -> Story:
    """Let what was brought home lie there, in whatever order the journal has it."""
    moved = story.moved

    def home(kept: Artifact) -> Artifact:
        return replace(moved[kept.key], cut=kept.cut) if kept.trouble and kept.key in moved else kept

    def worded(reason: str, *kept: Artifact) -> str:
        for one in kept:
            reason = reason.replace(one.trouble, BROUGHT_HOME) if home(one) is not one else reason
        return reason

    def at_home(one: StepResult) -> StepResult:
        return replace(
            one,
            artifact=home(one.artifact) if one.artifact else None,
            files=tuple(map(home, one.files)),
            reason=worded(one.reason, *one.kept),
        )

    if not moved:
        return story
    return replace(
        story,
        results=tuple(map(at_home, story.results)),
        saved=tuple(home(kept) for kept in story.saved),
        manifest=home(story.manifest) if story.manifest else None,
        report=home(story.report) if story.report else None,
        reason=worded(story.reason, story.manifest) if story.manifest else story.reason,
    )


def story(events: Iterable[Event]) -> Story | None:
    """Fold the events of one capture; None when the first of them is not its acceptance."""
    told: Story | None = None
    for event in events:
        if told is None:
            if not isinstance(event, Accepted):
                return None
            told = begin(event)
        else:
            told = go_on(told, event)
    return told
