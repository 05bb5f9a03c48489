"""What the terminal says of captures that were taken before: marking one good, and comparing."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from pathlib import Path

from rich.console import Console

from bot.assembly import Bot, assemble, whoever_runs_this
from bot.command import Compare, MarkGood
from bot.logs import open_log
from bot.reporters import compared as lines_of
from bot.reporters.terminal import printable
from bot.settings import Settings


async def look_back(settings: Settings, *, environ: Mapping[str, str], base: Path, ask: MarkGood | Compare) -> int:
    """Do what is asked and print it. Returns the exit status; raises UserError and what `assemble` raises."""
    console = Console(soft_wrap=True, highlight=False)
    async with assemble(settings, environ=environ, base=base) as bot:
        open_log(as_json=False, mask=bot.mask, level=logging.WARNING)
        for line in await _lines(bot, ask):
            console.print(printable(line), markup=False)
    return 0


async def _lines(bot: Bot, ask: MarkGood | Compare) -> list[str]:
    comparisons = bot.desk.comparisons
    if isinstance(ask, MarkGood):
        marked = await bot.desk.goods.mark(await comparisons.ended(ask.capture_id), whoever_runs_this())
        return [f"👍 {marked.capture_id} is good, said {marked.who.name}. Later captures are compared with it."]
    what = await comparisons.compare(ask.capture_id, ask.other_id)
    told = await comparisons.ended(what.capture_id)
    return [lines_of.first_line(what), *(f"  {line}" for line in lines_of.differences(told, what))]
