"""What is installed, the built-in and the third-party alike."""

from __future__ import annotations

from pathlib import Path

import pytest
from structlog.testing import capture_logs

from bot.insights import Reading
from bot.plugins import insight_names, load_insights, make_transports


def install(folder: Path, monkeypatch: pytest.MonkeyPatch, entry_points: str) -> None:
    """Another distribution, as pip would leave it."""
    info = folder / "else-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: else\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(entry_points)
    monkeypatch.syspath_prepend(folder)


def test_built_in_ones_are_found() -> None:
    """By the same way as all others."""
    assert {"host-cpu", "mysql-statements"} <= insight_names() == set(load_insights())


def test_another_distributions_insight_and_transport_are_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A transport gets what the built-in ones share."""
    (tmp_path / "elsewhere.py").write_text(
        "def insight(reading): return [reading.text]\ndef transport(*given): return given\n"
    )
    install(
        tmp_path,
        monkeypatch,
        "[capturebot.insights]\nmine = elsewhere:insight\n[capturebot.transports]\nmine = elsewhere:transport\n",
    )

    (said,) = load_insights()["mine"](Reading(text="x", target="t", cut=False))

    assert said == "x"  # type: ignore[comparison-overlap]  # any object will do
    assert make_transports("secrets", "pool")["mine"] == ("secrets", "pool")  # type: ignore[comparison-overlap]  # here too


def test_an_insight_that_cannot_be_loaded_costs_its_findings_only(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is logged, and the bot starts."""
    install(tmp_path, monkeypatch, "[capturebot.insights]\nbroken = no.such.module:insight\n")

    with capture_logs() as logged:
        loaded = load_insights()

    assert "broken" in insight_names()
    assert "broken" not in loaded
    assert "mysql-statements" in loaded
    assert [(line["event"], line["insight"]) for line in logged] == [("insight cannot be loaded", "broken")]
