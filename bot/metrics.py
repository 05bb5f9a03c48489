"""What the bot counts of itself, for Prometheus; fed by the same events that people's stories are."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from bot.model import Accepted, ApprovalRuled, Denied, Event, Finished, NoteFailed, NoteWritten, Refused, StepFinished

SECONDS = (0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300, 900)


class Metrics:
    """Counters in a registry of their own."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self._accepted = Counter(
            "capturebot_captures_accepted", "Captures accepted", ["recipe"], registry=self.registry
        )
        self._refused = Counter("capturebot_triggers_refused", "Triggers refused", registry=self.registry)
        self._denied = Counter(
            "capturebot_denied", "What rules were against, captures aside", ["verb"], registry=self.registry
        )
        self._ruled = Counter(
            "capturebot_approvals_ended", "Requests for an approval that ended", ["ruling"], registry=self.registry
        )
        self._ended = Counter("capturebot_captures_ended", "Captures ended", ["state"], registry=self.registry)
        self._open: set[str] = set()
        gauge = Gauge("capturebot_captures_open", "Captures waiting or running", registry=self.registry)
        gauge.set_function(lambda: len(self._open))
        self._steps = Counter("capturebot_steps", "Steps ended", ["step", "outcome"], registry=self.registry)
        self._seconds = Histogram(
            "capturebot_step_seconds", "Seconds a step took", buckets=SECONDS, registry=self.registry
        )
        self._stored = Counter("capturebot_stored_bytes", "Bytes stored", registry=self.registry)
        self._masked = Counter("capturebot_secrets_masked", "Secrets masked", registry=self.registry)
        self._notes = Counter("capturebot_notes", "PagerDuty notes", ["result"], registry=self.registry)
        self._webhooks = Counter("capturebot_webhooks", "PagerDuty's calls", ["what", "status"], registry=self.registry)

    def called(self, what: str, status: int) -> None:
        """Count one call of PagerDuty's: what it was, and what was answered."""
        self._webhooks.labels(what, str(status)).inc()

    def observe(self, event: Event) -> None:
        """Count one event."""
        match event:
            case Accepted(capture=capture):
                self._accepted.labels(capture.recipe).inc()
                self._open.add(capture.id)
            case Refused():
                self._refused.inc()
            case Denied(verb=verb):
                self._denied.labels(verb.value).inc()
            case ApprovalRuled(ruling=ruling):
                self._ruled.labels(ruling.value).inc()
            case StepFinished(result=result):
                self._steps.labels(result.step, result.outcome.value).inc()
                self._seconds.observe(result.seconds)
                self._stored.inc(sum(artifact.size_bytes for artifact in result.kept))
                self._masked.inc(sum(result.masked.values()))
            case Finished(capture_id=capture_id, state=state):
                self._ended.labels(state.value).inc()
                self._open.discard(capture_id)  # it may be one of an earlier process
            case NoteWritten():
                self._notes.labels("written").inc()
            case NoteFailed():
                self._notes.labels("failed").inc()
            case _:
                pass
