"""One step of a recipe file into a Step."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from bot.errors import ConfigError
from bot.model import Action, Carry, File, Log, Run, Sampling, Script, Sql, Statement, Step, TargetKind
from bot.recipes import rules
from bot.recipes.builtin import builtin_folder
from bot.recipes.page import Page
from bot.recipes.stepshape import CarryShape, FileShape, LogShape, StatementShape, StepShape
from bot.yamlfile import Where, listed, nearest, read, shown

DEFAULT_LOG_BYTES = 5_000_000


def step_of(page: Page, where: Where, shape: StepShape, wants: str) -> Step:
    """The step at *where*, of a recipe for *wants*; what is wrong is noted on the page."""
    if shape.sql is not None and wants != TargetKind.MYSQL:
        page.wrong((*where, "sql"), f"a recipe for `{wants}` has no database to ask", "write `for: mysql` above")
    if shape.sql is not None and (shape.needs or shape.wants):
        page.wrong(
            (*where, "needs"),
            "programs are of no use to a step of SQL",
            "take it out; `needs: performance_schema` goes to a statement of the list",
        )
    if page.is_windows and shape.carry is not None and shape.run is not None:
        page.wrong((*where, "carry"), "is for scripts on Windows", "write a script that runs the program")
    if shape.insight is not None and page.insights is not None and shape.insight not in page.insights:
        meant = nearest(shape.insight, page.insights)
        known = listed(sorted(page.insights)) or "none"
        page.wrong(
            (*where, "insight"),
            f"there is no insight `{shown(shape.insight)}`",
            f"did you mean `{meant}`?" if meant else f"insights are {known}",
        )
    return Step(
        id=shape.id,
        title=shape.title,
        action=_action(page, where, shape),
        timeout_s=shape.timeout,
        limit_bytes=shape.limit,
        insight=shape.insight,
        needs=tuple(shape.needs),
        wants=tuple(shape.wants),
        sampling=Sampling(times=shape.sample.times, every_s=shape.sample.every) if shape.sample else None,
        carry=_carry(page, (*where, "carry"), shape.carry) if shape.carry else None,
    )


def _carry(page: Page, where: Where, shape: CarryShape) -> Carry:
    places = page.tools
    if shape.from_ is not None:
        place = page.folder / shape.from_
        places = (place,)
        if not place.exists():
            message = f"there is no file or folder `{shown(shape.from_)}` beside the recipe"
            page.wrong((*where, "from"), message, "correct the path, or put it there")
    return Carry(tool=shape.tool, places=places, sha256=shape.sha256 or {})


def _action(page: Page, where: Where, shape: StepShape) -> Action:
    if shape.sql is not None:
        return _sql(page, (*where, "sql"), shape.sql, shape.id)
    if shape.run is not None:
        for message, cure in rules.faults_of_argv(shape.run, page.declared):
            page.wrong((*where, "run"), message, cure)
        return Run(argv=tuple(shape.run))
    if shape.script is not None:
        return script_of(page, (*where, "script"), shape.script)
    if shape.log is not None:
        return _log(page, (*where, "log"), shape.log)
    if shape.file is not None:
        return _file(page, (*where, "file"), shape.file)
    raise AssertionError("the shape has exactly one action")


def _file(page: Page, where: Where, shape: FileShape) -> File:
    return File(
        script=script_of(page, (*where, "script"), shape.script),
        name=shape.name,
        type=shape.type,
        limit_bytes=shape.limit,
        compress=shape.compress,
    )


def _sql(page: Page, where: Where, shapes: list[StatementShape], step: str) -> Sql:
    statements = tuple(
        Statement(
            name=shape.name or step,
            both=_bare(shape.both),
            mariadb=_bare(shape.mariadb),
            mysql=_bare(shape.mysql),
            needs_performance_schema=shape.needs is not None,
            optional=shape.optional,
        )
        for shape in shapes
    )
    for index, statement in enumerate(statements):
        texts = {"both": statement.both, "mariadb": statement.mariadb, "mysql": statement.mysql}
        earlier = [each.name for each in statements[:index]]
        for flavour, text in texts.items():
            for message, cure in rules.faults_of_sql(text, page.declared, earlier) if text is not None else ():
                page.wrong((*where, index, flavour), message, cure)
    page.repeated([statement.name for statement in statements], where, "name")
    return Sql(statements=statements)


def script_of(page: Page, where: Where, names: list[str]) -> Script:
    """One script of all the files in order, called by the last one's name."""
    texts = [_script_file(page, (*where, index), name).text for index, name in enumerate(names)]
    return Script(name=names[-1], text="\n".join(texts))


def _script_file(page: Page, where: Where, name: str) -> Script:
    """The file of that name beside the recipe, else the one that ships with the bot."""
    folders = (page.folder, builtin_folder())
    path = next((folder / name for folder in folders if (folder / name).is_file()), None)
    if name.endswith(".ps1") != page.is_windows:
        if page.is_windows:
            page.wrong(where, f"`{name}` is no PowerShell script", "a recipe for windows runs those that end in `.ps1`")
        else:
            page.wrong(where, f"`{name}` is a PowerShell script", "write `for: windows` above, or name a bash script")
    elif path is None:
        ending = ".ps1" if page.is_windows else ".sh"
        meant = nearest(name, (each.name for each in page.folder.glob(f"*{ending}") if each.is_file()))
        cure = f"did you mean `{meant}`?" if meant else f"put the script into {page.folder}"
        page.wrong(where, f"there is no file `{name}` beside the recipe", cure)
    elif not path.resolve().is_relative_to(path.parent.resolve()):
        page.wrong(where, f"`{name}` is a link that leads out of the recipe's folder", "put the script itself there")
    else:
        return _script_in(page, path)
    return Script(name=name, text="")


def _script_in(page: Page, path: Path) -> Script:
    script = Script(name=path.name, text="")
    try:
        script = replace(script, text=read(path).decode().removeprefix("\ufeff"))  # Windows' editors begin so
    except ConfigError as error:
        page.problems += error.problems
    except UnicodeDecodeError:
        page.wrong_in(path, 0, "is not UTF-8 text", "a script is text; save it as UTF-8")
    for line, (message, cure) in rules.faults_of_script(script, page.declared):
        page.wrong_in(path, line, message, cure)
    return script


def _log(page: Page, where: Where, shape: LogShape) -> Log:
    if page.is_windows and shape.unit is not None:
        page.wrong((*where, "unit"), "is systemd's, and Windows has none", "read event logs in a script")
    elif shape.path is not None and shape.path.startswith("/") == page.is_windows:
        system, sample = ("Windows", "C:\\logs\\app.log") if page.is_windows else ("Linux", "/var/log/syslog")
        page.wrong((*where, "path"), f"is no path of {system}", f"write for example `{sample}`")
    if shape.whole:
        return Log(path=shape.path, unit=shape.unit, last_bytes=None)
    return Log(path=shape.path, unit=shape.unit, last_bytes=shape.last or DEFAULT_LOG_BYTES)


def bare(text: str) -> str:
    """A statement without the semicolon that people end it with."""
    return text.strip().removesuffix(";").rstrip()


def _bare(text: str | None) -> str | None:
    return bare(text) if text is not None else None
