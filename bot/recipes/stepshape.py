"""What a step of a recipe file may hold."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, ConfigDict, Field, PlainValidator, WithJsonSchema, model_validator

from bot.shapes import Shape, wrong
from bot.values import Matches, Size
from bot.yamlfile import listed


def _element(value: Any) -> str:
    """One element of argv; whole numbers need no quotes because they read back as they were written."""
    if isinstance(value, str) or (isinstance(value, int) and not isinstance(value, bool)):
        return str(value)
    return wrong("must be text", "put it in quotes, so that it reaches the program as it is written")


Element = Annotated[str, PlainValidator(_element), WithJsonSchema({"type": ["string", "integer"]})]
Title = Annotated[str, Field(min_length=1, max_length=120)]
Program = Annotated[str, Matches(r"[A-Za-z0-9_][A-Za-z0-9._+-]{0,63}", "the name of a program, such as `ss`")]
FileName = Annotated[
    str,
    Matches(
        "[A-Za-z0-9_][A-Za-z0-9._-]{0,99}",
        "the name of a file beside the recipe",
        "give the name alone, without folders",
    ),
]


def _files(value: Any) -> Any:
    """A name alone is a list of one."""
    if not isinstance(value, str | list | None):
        wrong("must be the name of a script, or a list of names", "write for example `script: host-cpu.sh`")
    return [value] if isinstance(value, str) else value


FileNames = Annotated[list[FileName], Field(min_length=1, max_length=8)]
# Run as one, in this order: the first ones hold functions for the last.
Scripts = Annotated[FileNames, BeforeValidator(_files, json_schema_input_type=FileName | FileNames)]


class StatementShape(Shape):
    """One SQL statement that only reads."""

    model_config = ConfigDict(
        json_schema_extra={
            "oneOf": [{"required": ["both"]}, {"anyOf": [{"required": ["mariadb"]}, {"required": ["mysql"]}]}]
        }
    )

    name: Annotated[str, Matches("[a-z][a-z0-9_-]{0,30}", "lower-case letters, digits, `_` and `-`")] = Field(
        description="heads its rows in the output; an insight looks for it", examples=["digests"]
    )
    both: str | None = Field(None, description="the text where MariaDB and MySQL agree")
    mariadb: str | None = Field(None, description="the text for MariaDB")
    mysql: str | None = Field(None, description="the text for MySQL")
    needs: Literal["performance_schema"] | None = Field(
        None, description="skip the statement, saying so, where this is off", examples=["performance_schema"]
    )

    optional: bool = Field(
        False,
        description="where the server refuses it, say why and go on; the step is well all the same",
        examples=[True],
    )

    @model_validator(mode="after")
    def _one_text(self) -> StatementShape:
        if self.both is None and self.mariadb is None and self.mysql is None:
            wrong("has no text", "add the SQL under `both`, or under `mariadb` and `mysql` where they differ")
        if self.both is not None and (self.mariadb is not None or self.mysql is not None):
            wrong("is given beside `mariadb` or `mysql`", "keep `both`, or one text a flavour", at="both")
        return self


def _statements(value: Any) -> Any:
    """A text alone is one statement; it goes by its step's id."""
    if not isinstance(value, str | list | None):
        wrong("must be a statement, or a list of named ones", "write for example `sql: SHOW PROCESSLIST`")
    return [StatementShape.model_construct(name="", both=value)] if isinstance(value, str) else value


Statements = Annotated[list[StatementShape], Field(min_length=1, max_length=50)]


class SampleShape(Shape):
    """Run the step several times, to see what changes."""

    times: int = Field(ge=2, le=10, description="how often", examples=[2])
    every: float = Field(ge=1, le=60, description="seconds from start to start", examples=[4])


class LogShape(Shape):
    """A log file or the journal of a systemd unit."""

    model_config = ConfigDict(json_schema_extra={"oneOf": [{"required": ["path"]}, {"required": ["unit"]}]})

    path: Annotated[str, Matches(r"(?:/|[A-Za-z]:\\)[^\x00-\x1f]{1,4000}", "an absolute path")] | None = Field(
        None, description="a file on the host", examples=["/var/log/syslog"]
    )
    unit: (
        Annotated[str, Matches(r"[A-Za-z0-9_][A-Za-z0-9:_.@\\-]{0,255}", "the name of a unit, such as `nginx.service`")]
        | None
    ) = Field(None, description="a systemd unit, read from the journal", examples=["nginx.service"])
    last: Size | None = Field(None, description="how much of its end; 5 MB when left out", examples=["5 MB"])
    whole: bool = Field(False, description="all of it, up to the step's limit", examples=[True])

    @model_validator(mode="after")
    def _one_log(self) -> LogShape:
        if (self.path is None) == (self.unit is None):
            wrong("needs exactly one of `path` and `unit`", "name a file or a systemd unit, not both")
        if self.whole and self.last is not None:
            wrong("is given beside `whole: true`", "keep one of them", at="last")
        return self


Machine = Annotated[str, Matches("[a-z0-9_]{1,20}", "a machine as `uname -m` says it, such as `x86_64`")]
Checksum = Annotated[str, Matches("[0-9a-f]{64}", "64 hexadecimal digits, as `sha256sum` prints them")]


LeftName = Annotated[
    str,
    Matches(
        "[A-Za-z0-9_][A-Za-z0-9._-]{0,99}",
        "the name of a file",
        "the script leaves it in $CAPTURE_SCRATCH itself; give the name alone",
    ),
]


class FileShape(Shape):
    """A script that prints a report and leaves a file, which is streamed away and deleted on the host."""

    script: Scripts = Field(
        description="scripts beside the recipe, as above; the last leaves the file in $CAPTURE_SCRATCH",
        examples=["core.sh"],
    )
    name: LeftName = Field(description="the file's name in that folder; compressing adds an ending", examples=["core"])
    type: Annotated[str, Matches(r"[a-z]+/[a-z0-9.+-]{1,80}", "a media type, such as `application/zip`")] = Field(
        "application/octet-stream", description="its media type", examples=["application/vnd.tcpdump.pcap"]
    )
    limit: Size = Field(description="bytes of it that are kept at most", examples=["8 GB"])
    compress: bool = Field(True, description="compress it on the way, where the host can", examples=[False])


class CarryShape(Shape):
    """A program that is brought along where the host has none, and removed afterwards."""

    tool: Program = Field(description="its name; the script finds it on the PATH", examples=["py-spy"])
    from_: Annotated[str, Field(min_length=1, max_length=1000)] | None = Field(
        None,
        alias="from",
        description="the file, or a folder that holds it; when left out, `tools` of capturebot.yml, then the bot's own programs",
        examples=["tools/py-spy"],
    )
    sha256: Annotated[dict[Machine, Checksum], Field(min_length=1, max_length=10)] | None = Field(
        None,
        description="checksums by machine, as `uname -m` says it: nothing else is brought",
        examples=[{"x86_64": "0" * 64}],
    )


MAX_STEPS = 30
ACTIONS = ("sql", "run", "script", "log", "file")


StepId = Annotated[
    str, Matches("[a-z][a-z0-9-]{0,30}", "lower-case letters, digits and `-`, at most 31, a letter first")
]


class StepShape(Shape):
    """One thing that the recipe keeps, in one artifact."""

    model_config = ConfigDict(json_schema_extra={"oneOf": [{"required": [action]} for action in ACTIONS]})

    id: StepId = Field(description="names the artifact; unique in the recipe", examples=["statements"])
    title: Title = Field(description="what people read while it runs", examples=["Open transactions"])
    sql: Annotated[Statements | None, BeforeValidator(_statements, json_schema_input_type=str | Statements | None)] = (
        Field(None, description="one statement, or a list of named ones; %(name)s is a parameter")
    )
    run: list[Element] | None = Field(
        None,
        min_length=1,
        max_length=100,
        description="a program and its arguments; {name} is a parameter",
        examples=[["uptime"]],
    )
    script: Scripts | None = Field(
        None,
        description="a script beside the recipe, or several that are run as one; parameters arrive as PARAM_NAME (bash; PowerShell "
        "where it is `for: windows`)",
        examples=["host-cpu.sh"],
    )
    log: LogShape | None = Field(
        None, description="a log file or a unit's journal", examples=[{"path": "/var/log/syslog"}]
    )
    file: FileShape | None = Field(
        None,
        description="a script that leaves a file, which is streamed away and deleted on the host",
        examples=[{"script": "core.sh", "name": "core", "limit": "8 GB"}],
    )
    needs: list[Program] = Field(
        [], max_length=20, description="programs that the host must have, else the step is skipped", examples=[["ss"]]
    )
    wants: list[Program] = Field(
        [],
        max_length=20,
        description="programs, and features of the host (root, ptrace, kernel-log, journal, packets, perf-events, bpf; on "
        "Windows administrator, debug-privilege, event-log, performance-counters), without which it keeps less; `capturebot doctor` "
        "tells of them",
        examples=[["root", "gdb"]],
    )
    carry: CarryShape | None = Field(
        None, description="a program to bring along where the host has none", examples=[{"tool": "py-spy"}]
    )
    sample: SampleShape | None = Field(None, description="run it several times", examples=[{"times": 2, "every": 4}])
    timeout: float = Field(ge=1, le=600, description="seconds that one run may take, 1 to 600", examples=[20])
    limit: Size = Field(description="bytes that are kept at most", examples=["5 MB"])
    insight: str | None = Field(None, description="who reads the output for findings", examples=["mysql-statements"])

    @model_validator(mode="after")
    def _one_action(self) -> StepShape:
        given = [action for action in ACTIONS if getattr(self, action) is not None]
        if not given:
            wrong("says nothing to run", f"add one of {listed(ACTIONS)}")
        if len(given) > 1:
            wrong(f"is given beside `{given[0]}`", "keep one of them, and make a second step of the other", at=given[1])
        if self.file is not None and self.sample is not None:
            wrong("does not go with `file`, which is made once", "take it out", at="sample")
        if self.carry is not None and (self.sql is not None or self.log is not None):
            wrong("is of no use to a step that runs no program of yours", "take it out", at="carry")
        return self
