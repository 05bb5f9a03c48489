"""Recipe files: what right ones become, what is said of each wrong one, and how values are bound."""

from __future__ import annotations

import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import pytest
import re2
from hypothesis import example, given, settings
from hypothesis import strategies as st

from bot.errors import ConfigError, UserError
from bot.model import (
    Impact,
    Log,
    Parameter,
    ParameterType,
    Recipe,
    Run,
    Sampling,
    Script,
    Sql,
    Statement,
    Step,
    TargetKind,
)
from bot.recipes import MAX_FILES, bind, bind_parameters, builtin_folder, load_all, load_folder, nearest
from bot.recipes.rules import faults_of_argv, faults_of_sql
from bot.sql import refusal
from bot.yamlfile import MAX_BYTES
from tests.wrong import Wrong, table

RIGHT, WRONG = table("wrong_recipes.txt")
INSIGHTS = ["mysql-statements"]


WEB = """\
title: Web server
about: Its log.
for: host
impact: none
parameters:
  lines: {type: integer, about: Lines, default: 10, minimum: 1, maximum: 50}
  path: {type: text, about: The log, default: /var/log/web, pattern: '[-/a-z]{0,30}'}
steps:
  - {id: tail, title: Its end, run: [tail, -n, "{lines}", "{path}"], timeout: 5, limit: 1 MB}
  - {id: head, title: Its start, script: host-cpu.sh, timeout: 5, limit: 1 MB}
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with scripts, right ones and wrong ones, and one outside of it."""
    folder = tmp_path / "captures"
    folder.mkdir()
    (folder / "host-cpu.sh").write_text('ps | head -n "${PARAM_LINES:-5}"\n')
    (folder / "windows.sh").write_bytes(b"ps\r\nss\r\n")
    (folder / "unknown.sh").write_text('ps\nhead -n "$PARAM_TPO"\n')
    (folder / "binary.sh").write_bytes(b"\xff\xfe")
    (folder / "large.sh").write_text("#" * (MAX_BYTES + 1))
    (folder / "loop.sh").symlink_to("loop.sh")
    (tmp_path / "host-cpu.sh").write_text("ps\n")
    (folder / "outside.sh").symlink_to("../host-cpu.sh")
    (folder / "web.yml").write_text(WEB)
    (folder / "other.yml").write_text(WEB.replace("/var/log/web", "/var/log/other").replace("{0,30}", "{0,40}"))
    return folder


def problems_of(folder: Path) -> list[str]:
    """What is said of the recipes in *folder*."""
    with pytest.raises(ConfigError) as caught:
        load_all([folder], insights=INSIGHTS)
    said = [str(problem) for problem in caught.value.problems]
    return [line.replace(f"{folder}/", "").replace(str(folder), "FOLDER") for line in said]


# --- files ------------------------------------------------------------------------------------


@pytest.mark.parametrize("wrong", WRONG, ids=str)
def test_a_wrong_recipe_says_where_and_how_to_mend_it(wrong: Wrong, folder: Path) -> None:
    """File, line, key, message and cure, exactly as an operator reads them."""
    (folder / "db.yml").write_text(wrong.text)

    said = problems_of(folder)

    assert said == wrong.says


EVERYTHING = """\
title: Everything
about: One step of each kind.
for: mysql
impact: none
parameters:
  top: {type: integer, about: Rows, default: 25, minimum: 1, maximum: 200}
  unit: {type: text, about: A unit, default: nginx.service, pattern: '[\\w@.-]{1,64}'}
  mode: {type: text, about: What, default: read, choices: [read, write]}
steps:
  - id: one
    title: One statement
    sql: SELECT 1 LIMIT %(top)s;
    timeout: 20
    limit: 1.5 MB
    insight: mysql-statements
  - id: two
    title: Two statements
    sql:
      - {name: a, needs: performance_schema, both: "SELECT '100%' LIKE %(mode)s"}
      - {name: b, mariadb: SHOW ALL REPLICAS STATUS, mysql: (SELECT 2)}
    sample: {times: 2, every: 4}
    timeout: 20
    limit: 5000
  - {id: run, title: Run, run: [journalctl, -u, "{unit}", -n, 100, -o, "{ print }"], timeout: 5, limit: 10kb}
  - {id: script, title: Script, script: cpu.sh, needs: [ps, python3.11], timeout: 5.5, limit: 2 GB}
  - {id: file, title: File, log: {path: /var/log/x, last: 3 MB}, timeout: 5, limit: 5 MB}
  - {id: unit, title: Unit, log: {unit: nginx.service}, timeout: 5, limit: 5 MB}
  - {id: whole, title: Whole, log: {path: /var/log/x, whole: true}, timeout: 5, limit: 5 MB}
"""


def test_a_right_recipe_becomes_steps(folder: Path) -> None:
    """One step of each kind, with its bounds."""
    (folder / "all.yml").write_text(EVERYTHING)
    (folder / "cpu.sh").write_text('head -n "$PARAM_TOP"\n')

    recipe = load_all([folder], insights=INSIGHTS)["all"]

    first, second, *rest = recipe.steps
    assert (recipe.name, recipe.title, recipe.wants, recipe.impact) == (
        "all",
        "Everything",
        TargetKind.MYSQL,
        Impact.NONE,
    )
    assert [parameter.name for parameter in recipe.parameters] == ["top", "unit", "mode"]
    assert first == Step(
        id="one",
        title="One statement",
        action=Sql(statements=(Statement(name="one", both="SELECT 1 LIMIT %(top)s"),)),
        timeout_s=20,
        limit_bytes=1_500_000,
        insight="mysql-statements",
    )
    assert second.sampling == Sampling(times=2, every_s=4)
    assert second.action == Sql(
        statements=(
            Statement(name="a", both="SELECT '100%' LIKE %(mode)s", needs_performance_schema=True),
            Statement(name="b", mariadb="SHOW ALL REPLICAS STATUS", mysql="(SELECT 2)"),
        )
    )
    assert [step.action for step in rest] == [
        Run(argv=("journalctl", "-u", "{unit}", "-n", "100", "-o", "{ print }")),
        Script(name="cpu.sh", text='head -n "$PARAM_TOP"\n'),
        Log(path="/var/log/x", last_bytes=3_000_000),
        Log(unit="nginx.service", last_bytes=5_000_000),
        Log(path="/var/log/x", last_bytes=None),
    ]
    assert rest[1].needs == ("ps", "python3.11")
    assert [step.limit_bytes for step in rest[:2]] == [10_000, 2_000_000_000]


def test_the_shipped_recipes_are_right() -> None:
    """What is in captures/ loads, and says what it costs."""
    recipes = load_folder(builtin_folder())

    assert "db" in recipes
    assert all(recipe.about for recipe in recipes.values())


def test_the_digest_changes_with_the_file_and_with_its_scripts(folder: Path) -> None:
    """And with nothing else."""
    path, script = folder / "cpu.yml", folder / "host-cpu.sh"
    step = "{id: cpu, title: CPU, script: host-cpu.sh, timeout: 5, limit: 1 kB}"
    path.write_text(f"title: CPU\nabout: CPU.\nfor: host\nimpact: none\nsteps: [{step}]\n")
    digests = [load_folder(folder)["cpu"].digest]

    script.write_text("ps aux\n")
    digests.append(load_folder(folder)["cpu"].digest)
    path.write_text(f"# reviewed\n{path.read_text()}")
    digests.append(load_folder(folder)["cpu"].digest)
    (folder / "other.sh").write_text("ss\n")
    digests.append(load_folder(folder)["cpu"].digest)

    assert len(set(digests)) == 3
    assert digests[2] == digests[3]
    assert all(len(digest) == 64 for digest in digests)


# --- recipes that use others ------------------------------------------------------------------


def a_use(folder: Path, use: str, more: str = "", *, name: str = "all") -> Recipe:
    """The recipe *name* that uses others."""
    text = f"title: All\nabout: All of it.\nfor: host\nimpact: none\nuse: {use}\n{more}"
    (folder / f"{name}.yml").write_text(text)
    return load_all([folder], insights=INSIGHTS)[name]


def ids(recipe: Recipe) -> list[str]:
    """Those of its steps."""
    return [step.id for step in recipe.steps]


LOAD = "steps: [{id: load, title: Load, run: [uptime], timeout: 5, limit: 1 kB}]\n"


def test_used_steps_come_first_and_their_parameters_are_offered(folder: Path) -> None:
    """As if they were written here."""
    web = load_folder(folder)["web"]

    recipe = a_use(folder, "[web]", LOAD)

    assert ids(recipe) == ["tail", "head", "load"]
    assert recipe.steps[:2] == web.steps
    assert recipe.parameters == web.parameters
    assert bind(recipe.steps[0], bind_parameters(recipe, {"lines": "7"})).action == Run(
        argv=("tail", "-n", "7", "/var/log/web")
    )


def test_a_given_value_is_not_offered_and_reaches_the_step(folder: Path) -> None:
    """Fixed, or another parameter's; of a program as of a script."""
    more = "parameters:\n  most: {type: integer, about: Lines, default: 5, minimum: 1, maximum: 1000}\n"

    recipe = a_use(folder, '[{recipe: web, with: {path: /var/log/x, lines: "{most}"}}]', more)

    tail, head = (bind(step, bind_parameters(recipe, {"most": "9"})).action for step in recipe.steps)
    assert [parameter.name for parameter in recipe.parameters] == ["most"]
    assert tail == Run(argv=("tail", "-n", "9", "/var/log/x"))
    assert isinstance(head, Script)
    assert head.env == {"PARAM_LINES": "9"}


def test_a_value_suits_every_recipe_that_it_goes_through(folder: Path) -> None:
    """A recipe cannot widen what the used one allows, nor hide where a program looks for options."""
    more = "parameters:\n  most: {type: integer, about: Lines, default: 5, minimum: 1, maximum: 1000}\n"
    more += "  file: {type: text, about: File, default: /x, pattern: '.*'}\n"
    a_use(folder, '[{recipe: web, with: {path: "{file}", lines: "{most}"}}]', more, name="inner")
    recipe = a_use(folder, "[inner]")

    said = []
    for given_ in ({"most": "51"}, {"file": "/ETC"}, {"file": "-f"}):
        with pytest.raises(UserError) as caught:
            bind_parameters(recipe, given_)
        said.append(str(caught.value))

    assert said == [
        "`most` must be a whole number from 1 to 50, not `51`. For example: `most=10`.",
        "`file` cannot be `/ETC`: it must match `[-/a-z]{0,30}` (The log). For example: `file=/var/log/web`.",
        "`file` must not begin with `-`: the program would take it for an option. For example: `file=/x`.",
    ]
    assert bind(recipe.steps[0], bind_parameters(recipe, {"most": "50"})).action == Run(argv=("tail", "-n", "50", "/x"))


@pytest.mark.parametrize(
    ("use", "default", "says"),
    [
        (
            "{recipe: inner, with: {most: 60}}",
            5,
            "use.0.with.most: `lines` must be a whole number from 1 to 50, not `60`",
        ),
        ('{recipe: inner, with: {most: "{own}"}}', 60, "use.0: `own` must be a whole number from 1 to 50, not `60`"),
    ],
)
def test_what_is_known_of_a_value_suits_the_innermost_recipe(folder: Path, use: str, default: int, says: str) -> None:
    """A value that is written down, and a default, are wrong before anybody types a command."""
    more = "parameters:\n  most: {type: integer, about: Lines, default: 5, minimum: 1, maximum: 1000}\n"
    a_use(folder, '[{recipe: web, with: {lines: "{most}"}}]', more, name="inner")
    more = more.replace("most", "own").replace("default: 5", f"default: {default}") if "own" in use else ""

    with pytest.raises(ConfigError) as caught:
        a_use(folder, f"[{use}]", more)

    assert says in str(caught.value.problems[0])


def test_a_parameter_reaches_only_recipes_that_declare_it(folder: Path) -> None:
    """A script that is shared has a default of its own where its recipe offers no such parameter."""
    (folder / "plain.yml").write_text(
        WEB[: WEB.index("parameters")] + LOAD.replace("run: [uptime]", "script: host-cpu.sh")
    )
    more = "parameters:\n  lines: {type: text, about: Any, default: ok, pattern: '.*'}\n"
    more += "steps: [{id: own, title: Own, script: host-cpu.sh, timeout: 5, limit: 1 kB}]\n"

    recipe = a_use(folder, "[plain]", more)

    used, own = (bind(step, bind_parameters(recipe, {"lines": "x"})).action for step in recipe.steps)
    assert isinstance(used, Script)
    assert isinstance(own, Script)
    assert (used.env, own.env) == ({}, {"PARAM_LINES": "x"})


def test_steps_of_one_name_get_that_of_their_recipe(folder: Path) -> None:
    """Only these, and own ones keep theirs."""
    more = "parameters:\n  path: {type: text, about: The log, default: /x, pattern: '[/a-z]{0,9}'}\n"
    more += "steps: [{id: head, title: Load, run: [uptime], timeout: 5, limit: 1 kB}]\n"

    recipe = a_use(folder, "[web, {recipe: other, only: [tail]}, {recipe: web, as: again, only: [head]}]", more)

    assert ids(recipe) == ["web-tail", "web-head", "other-tail", "again-head", "head"]
    assert recipe.steps[3].title == "again: Its start"


def test_the_impact_is_the_worst_of_all(folder: Path) -> None:
    """And the cost is measured as the used recipe does, with the values that it gets."""
    cost = "impact: heavy\ncost: {script: host-cpu.sh, timeout: 5}"
    (folder / "web.yml").write_text(WEB.replace("impact: none", cost))

    recipe = a_use(folder, "[{recipe: web, with: {lines: 3}}]", LOAD)

    assert recipe.impact is Impact.HEAVY
    assert recipe.cost
    assert {name: passed.value for name, passed in recipe.cost.passed.items()} == {"lines": 3}


def test_the_digest_changes_with_what_is_used(folder: Path) -> None:
    """Also where no script does."""
    first = a_use(folder, "[web]").digest
    (folder / "web.yml").write_text(WEB.replace("timeout: 5", "timeout: 6"))

    assert a_use(folder, "[web]").digest != first


def test_recipes_that_use_each_other_are_told_in_a_circle(folder: Path) -> None:
    """Once, where the circle closes."""
    (folder / "db.yml").write_text(WEB.replace("impact: none", "impact: none\nuse: [ring]"))
    (folder / "ring.yml").write_text(WEB.replace("impact: none", "impact: none\nuse: [db]"))

    said = problems_of(folder)

    assert said == ["ring.yml:5: use.0: leads round in a circle: db → ring → db — take one of them out"]


def test_too_many_steps_in_all_are_a_problem(folder: Path) -> None:
    """Each recipe alone may have thirty."""
    step = "  - {id: s%s, title: Load, run: [uptime], timeout: 5, limit: 1 kB}\n"
    (folder / "db.yml").write_text(WEB + "".join(step % number for number in range(28)))
    (folder / "twice.yml").write_text(WEB.replace("impact: none", "impact: none\nuse: [db]"))

    said = problems_of(folder)

    assert said == ["twice.yml:5: use: makes 32 steps in all, and 30 are the most — take a part with `only`"]


def test_what_mysql_needs_is_not_used_by_a_recipe_for_hosts(folder: Path) -> None:
    """The other way round is right: a database's target may have a host way."""
    (folder / "db.yml").write_text(RIGHT)
    (folder / "web.yml").write_text(WEB.replace("impact: none", "impact: none\nuse: [db]"))

    said = problems_of(folder)

    assert said == ["web.yml:5: use.0: `db` is for mysql, and this recipe is for host — write `for: mysql` above"]


def test_a_recipe_may_take_the_place_of_one_that_ships_and_use_it(folder: Path, tmp_path: Path) -> None:
    """Its own name means that one then, and to all others it is the new one."""
    shipped = tmp_path / "shipped"
    shipped.mkdir()
    (shipped / "web.yml").write_text(WEB.replace("host-cpu", "web"))
    (shipped / "web.sh").write_text("ps\n")
    (shipped / "all.yml").write_text(WEB[: WEB.index("parameters")] + "use: [web]\n")
    (folder / "web.yml").write_text(WEB[: WEB.index("parameters")] + "replaces: true\nuse: [web]\n" + LOAD)

    recipes = load_all([shipped, folder], insights=INSIGHTS)

    assert ids(recipes["web"]) == ids(recipes["all"]) == ["tail", "head", "load"]


# --- scripts of several files -----------------------------------------------------------------


def test_scripts_are_run_as_one_in_their_order(folder: Path) -> None:
    """Called by the last one's name; what it does not declare has a default of the script's own."""
    (folder / "lib.sh").write_text("look() { ps; }")
    text = RIGHT.replace("run: [uptime]", "script: [lib.sh, host-cpu.sh]")
    (folder / "db.yml").write_text(text)

    recipe = load_folder(folder)["db"]

    action = bind(recipe.steps[1], bind_parameters(recipe, {})).action
    assert action == Script(name="host-cpu.sh", text='look() { ps; }\nps | head -n "${PARAM_LINES:-5}"\n')
    (folder / "lib.sh").write_text("look() { ss; }")
    assert load_folder(folder)["db"].digest != recipe.digest


# --- folders ----------------------------------------------------------------------------------


def test_recipes_of_all_folders_are_known_by_their_names(tmp_path: Path) -> None:
    """A folder that is named twice is read once; hidden files and scripts are no recipes."""
    first, second = tmp_path / "first", tmp_path / "second"
    for folder, name in ((first, "web"), (second, "db")):
        folder.mkdir()
        (folder / f"{name}.yml").write_text(RIGHT)
    (first / ".draft.yml").write_text("not: right")
    (first / "notes.txt").write_text("x")

    recipes = load_all([first, second, second / ".." / "first"], insights=[])

    assert list(recipes) == ["db", "web"]


def test_the_name_of_a_recipe_is_its_own(tmp_path: Path) -> None:
    """Two of one name, one that `/capture` means something else by, one that cannot be typed, a forgotten ending."""
    first, second = tmp_path / "first", tmp_path / "second"
    for folder in (first, second):
        folder.mkdir()
        (folder / "db.yml").write_text(RIGHT)
    for name in ("list.yml", "My Recipe.yml", "web.yaml", "WEB.YML"):
        (second / name).write_text(RIGHT)

    with pytest.raises(ConfigError) as caught:
        load_all([first, second], insights=[])

    assert [str(problem).replace(f"{tmp_path}/", "") for problem in caught.value.problems] == [
        "second/My Recipe.yml: its name cannot be typed as a recipe's name — rename the file: use lower-case letters, digits and `-`, at most 31",
        "second/list.yml: `/capture list` means something else — give the recipe another name",
        "second/WEB.YML: is not read as a recipe — rename it to WEB.yml",
        "second/web.yaml: is not read as a recipe — rename it to web.yml",
        "second/db.yml: there is a recipe `db` already, in first/db.yml — rename the file: its name is the recipe's; to take its place write `replaces: true`",
    ]


def test_problems_of_all_files_are_told_at_once(folder: Path) -> None:
    """One run of the check is enough."""
    (folder / "a.yml").write_text("title: A\n")
    (folder / "b.yml").write_text(RIGHT.replace("impact: light", "impact: lite"))
    (folder / "c.yml").write_text("a: [\n")

    said = problems_of(folder)

    assert [line.split(" ")[0] for line in said] == ["a.yml:1:"] * 3 + ["b.yml:4:", "c.yml:2:"]


def test_a_folder_that_is_not_there_is_a_problem(tmp_path: Path) -> None:
    """Not an empty answer: the operator's own recipes would be missed in an incident."""
    with pytest.raises(ConfigError) as caught:
        load_folder(tmp_path / "none")

    assert [problem.message for problem in caught.value.problems] == [
        "this folder cannot be read: no such file or directory"
    ]


def test_a_folder_of_too_many_recipes_is_a_problem(tmp_path: Path) -> None:
    """None is left out in silence."""
    for number in range(MAX_FILES + 1):
        (tmp_path / f"r{number}.yml").write_text("")

    with pytest.raises(ConfigError) as caught:
        load_folder(tmp_path)

    assert caught.value.problems[0].message == "holds more than 300 recipes"


def test_a_folder_alone_does_not_judge_insights(folder: Path) -> None:
    """Which ones there are is known where all parts come together."""
    (folder / "db.yml").write_text(RIGHT.replace("limit: 1 MB", "limit: 1 MB\n    insight: of-a-plugin"))

    recipe = load_folder(folder)["db"]

    assert recipe.steps[0].insight == "of-a-plugin"


@settings(max_examples=40)
@given(st.text(max_size=80), st.sampled_from(RIGHT.splitlines()))
def test_nothing_but_a_configuration_error_is_raised(
    tmp_path_factory: pytest.TempPathFactory, text: str, line: str
) -> None:
    """Whatever stands in place of a line."""
    folder = tmp_path_factory.getbasetemp() / "arbitrary"
    folder.mkdir(exist_ok=True)
    (folder / "db.yml").write_bytes(RIGHT.replace(line, text).encode(errors="replace"))

    with suppress(ConfigError):
        load_all([folder], insights=INSIGHTS)


# --- rules ------------------------------------------------------------------------------------

READING = [
    "SELECT 1",
    "  (SELECT 1) UNION (SELECT 2)",
    "/* all */ SHOW FULL PROCESSLIST",
    "-- all\nSHOW STATUS",
    "WITH x AS (SELECT 1) SELECT * FROM x",
    "EXPLAIN SELECT 1",
    "SELECT 'it''s; a \\' DELETE', \"INTO\", `update` FROM t # ; DELETE\n",
    "SELECT REPLACE(a, 'b', 'c'), update_time FROM t",
    "SELECT 100 % 3, 'a%' LIKE 'b%(c)'",
    "DESCRIBE orders",
]
SPARE = ["SELECT", "SHOW", "WITH x AS (SELECT 1)", "EXPLAIN", "1", "FROM t", "'a;b'", "/* c */", "`d`", "# e\n", ";"]
WRITING = [
    "INTO @a",
    "FOR UPDATE",
    "FOR SHARE",
    "LOCK IN SHARE MODE",
    "DELETE",
    "UPDATE",
    "REPLACE",
    "/*! x */",
    "'",
    "--",
]


@pytest.mark.parametrize("text", READING)
def test_a_statement_that_reads_is_accepted(text: str) -> None:
    """What looks like writing inside quotes, names and comments does not count."""
    faults = list(faults_of_sql(text, []))

    assert faults == []


@given(st.lists(st.sampled_from(SPARE + WRITING), max_size=6))
@example(["EXPLAIN", "SELECT", "1"])
def test_what_passes_here_is_never_refused_when_it_runs(parts: list[str]) -> None:
    """The transport looks again before it sends; a recipe that loads must not fail there at night."""
    text = " ".join(parts)

    if not list(faults_of_sql(text, [])):
        assert refusal(text) == ""


@pytest.mark.parametrize(
    "argv",
    [
        ["bash", "-c", "ps | head"],
        ["grep", "-c", "{top}", "/proc/meminfo"],
        ["head", "-c", "{top}", "/var/log/x"],
        ["awk", "/{/ {print}", "/proc/stat"],
        ["find", "/tmp", "-exec", "ls", "{}", ";"],
        ["bash", "/opt/x.sh", "{top}"],
        ["date", "+%s"],
    ],
)
def test_a_program_that_no_value_can_turn_into_code_is_accepted(argv: list[str]) -> None:
    """A shell without a parameter, and options that only look like a shell's."""
    faults = list(faults_of_argv(argv, ["top"]))

    assert faults == []


# --- values -----------------------------------------------------------------------------------

TOP = Parameter(name="top", about="Rows", type=ParameterType.INTEGER, default=25, minimum=-5, maximum=200)
UNIT = Parameter(name="unit", about="A unit", type=ParameterType.TEXT, default="", pattern=r"[\w@.-]{0,64}")
MODE = Parameter(name="mode", about="What", type=ParameterType.TEXT, default="read", choices=("read", "write"))


def a_recipe(*parameters: Parameter, argv: tuple[str, ...] = ("uptime",)) -> Recipe:
    """A recipe of one `run`."""
    step = Step(id="run", title="Run", action=Run(argv=argv), timeout_s=5, limit_bytes=1000)
    return Recipe(
        name="db",
        title="DB",
        about="x",
        wants=TargetKind.HOST,
        impact=Impact.NONE,
        steps=(step,),
        digest="",
        parameters=parameters,
    )


RECIPE = a_recipe(TOP, UNIT, MODE)


@pytest.mark.parametrize(
    ("given", "bound"),
    [
        ({}, {"top": 25, "unit": "", "mode": "read"}),
        ({"top": "200"}, {"top": 200, "unit": "", "mode": "read"}),
        ({"top": "-05", "mode": "write"}, {"top": -5, "unit": "", "mode": "write"}),
        ({"unit": "a@b.service"}, {"top": 25, "unit": "a@b.service", "mode": "read"}),
        ({"unit": "-n"}, {"top": 25, "unit": "-n", "mode": "read"}),
    ],
)
def test_given_values_stand_in_place_of_defaults(given: dict[str, str], bound: dict[str, str | int]) -> None:
    """Integers become integers."""
    assert bind_parameters(RECIPE, given) == bound


REFUSED = {
    ("tpo", "5"): "`db` has no parameter `tpo`. Did you mean `top`?",
    ("x" * 1000, "5"): f"`db` has no parameter `{'x' * 63}…`. It takes `top`, `unit` and `mode`.",
    ("a`b\n", "5"): "`db` has no parameter `a'b�`. It takes `top`, `unit` and `mode`.",
    ("top", "201"): "`top` must be a whole number from -5 to 200, not `201`. For example: `top=25`.",
    ("top", "-6"): "`top` must be a whole number from -5 to 200, not `-6`. For example: `top=25`.",
    ("top", "many"): "`top` must be a whole number from -5 to 200, not `many`. For example: `top=25`.",
    ("top", ""): "`top` must be a whole number from -5 to 200, not ``. For example: `top=25`.",
    ("top", "1e2"): "`top` must be a whole number from -5 to 200, not `1e2`. For example: `top=25`.",
    ("top", "+5"): "`top` must be a whole number from -5 to 200, not `+5`. For example: `top=25`.",
    ("top", "5 "): "`top` must be a whole number from -5 to 200, not `5 `. For example: `top=25`.",
    ("top", "٣"): "`top` must be a whole number from -5 to 200, not `٣`. For example: `top=25`.",
    ("top", "9" * 200): f"`top` must be a whole number from -5 to 200, not `{'9' * 63}…`. For example: `top=25`.",
    ("top", "9" * 10_000): "The value of `top` has 10000 characters, and 200 are the most. For example: `top=25`.",
    ("unit", "a b"): r"`unit` cannot be `a b`: it must match `[\w@.-]{0,64}` (A unit).",
    ("unit", "$(reboot)"): r"`unit` cannot be `$(reboot)`: it must match `[\w@.-]{0,64}` (A unit).",
    ("unit", "é"): r"`unit` cannot be `é`: it must match `[\w@.-]{0,64}` (A unit).",
    (
        "unit",
        "a\n",
    ): "The value of `unit` holds a control character or an invisible one. Type it by hand instead of pasting it.",
    (
        "unit",
        "a\u202eb",
    ): "The value of `unit` holds a control character or an invisible one. Type it by hand instead of pasting it.",
    (
        "unit",
        "\udc80",
    ): "The value of `unit` holds a control character or an invisible one. Type it by hand instead of pasting it.",
    ("mode", "wrte"): "`mode` must be one of `read` and `write`, not `wrte`. Did you mean `mode=write`?",
    ("mode", "all"): "`mode` must be one of `read` and `write`, not `all`.",
}


@pytest.mark.parametrize(("pair", "answer"), REFUSED.items(), ids=lambda value: str(value)[:50])
def test_a_value_that_does_not_fit_is_answered_with_what_does(pair: tuple[str, str], answer: str) -> None:
    """The parameter, what is allowed, and the nearest right one."""
    with pytest.raises(UserError) as caught:
        bind_parameters(RECIPE, dict([pair]))

    assert str(caught.value) == answer


def test_a_recipe_without_parameters_says_so() -> None:
    """Instead of an empty list."""
    with pytest.raises(UserError, match=r"`db` has no parameter `top`\. It takes no parameters\."):
        bind_parameters(a_recipe(), {"top": "5"})


@pytest.mark.parametrize(
    ("argv", "taken"),
    [
        (("tail", "{unit}"), False),
        (("journalctl", "--since", "{unit}"), True),
        (("tail", "--", "{unit}"), True),
        (("tail", "x"), True),
    ],
)
def test_a_value_cannot_become_an_option(argv: tuple[str, ...], taken: bool) -> None:  # noqa: FBT001  (a table's column)
    """It may begin with `-` only behind an option or behind `--`."""
    recipe = a_recipe(UNIT, argv=argv)

    if taken:
        assert bind_parameters(recipe, {"unit": "-f"}) == {"unit": "-f"}
    else:
        with pytest.raises(UserError, match="must not begin with `-`"):
            bind_parameters(recipe, {"unit": "-f"})


def test_a_hostile_value_costs_no_time() -> None:
    """A pattern that takes Python's own `re` minutes is matched in linear time."""
    recipe = a_recipe(replace(UNIT, pattern="(a+)+(a|aa)+b"))
    before = time.process_time()

    with pytest.raises(UserError):
        bind_parameters(recipe, {"unit": "a" * 199 + "!"})

    assert time.process_time() - before < 0.5


ANYTHING = st.text(max_size=250) | st.from_regex(r"[-0-9a-z@. ]{0,8}")


@given(st.dictionaries(st.sampled_from(["top", "unit", "mode"]) | st.text(max_size=5), ANYTHING, max_size=4))
@example({"unit": "a" * 64 + "\n"})
@example({"mode": "read\x00"})
def test_no_value_gets_through_that_does_not_match(values: Mapping[str, str]) -> None:
    """Whatever the text: a UserError, or values inside their bounds."""
    try:
        bound = bind_parameters(RECIPE, values)
    except UserError as error:
        assert error.message.isprintable()  # noqa: PT017  (both ends are right here)
        return

    assert set(bound) == {"top", "unit", "mode"}
    assert -5 <= int(bound["top"]) <= 200
    assert re2.fullmatch(r"[\w@.-]{0,64}", str(bound["unit"]))
    assert bound["mode"] in {"read", "write"}


# --- binding ----------------------------------------------------------------------------------


def a_step(action: Run | Sql | Script | Log) -> Step:
    """A step that does *action*."""
    return Step(id="x", title="X", action=action, timeout_s=5, limit_bytes=1000)


VALUES: Mapping[str, str | int] = {"top": 5, "unit": "$(reboot) {top}", "mode": "read"}


def test_a_value_becomes_one_element() -> None:
    """Nothing in it is read again, and elements that only resemble a placeholder stay."""
    step = bind(a_step(Run(argv=("tail", "-n", "{top}", "{unit}", "{Top}", "x{top}", "{ top }"))), VALUES)

    assert step.action == Run(argv=("tail", "-n", "5", "$(reboot) {top}", "{Top}", "x{top}", "{ top }"))


def test_a_statement_gets_the_arguments_it_uses() -> None:
    """The text stays as it is; the transport binds."""
    sql = Sql(statements=(Statement(name="a", both="SELECT %(top)s"), Statement(name="b", mysql="SELECT %(mode)s")))

    step = bind(a_step(sql), VALUES)

    assert step.action == replace(sql, arguments={"top": 5, "mode": "read"})


def test_a_script_gets_the_variables_it_uses() -> None:
    """In upper case, as text."""
    script = Script(name="x.sh", text='head -n "$PARAM_TOP" "${PARAM_UNIT}" # PARAMETER, XPARAM_MODE\n')

    step = bind(a_step(script), VALUES)

    assert step.action == replace(script, env={"PARAM_TOP": "5", "PARAM_UNIT": "$(reboot) {top}"})


def test_a_log_is_as_it_was() -> None:
    """It takes no parameters."""
    step = a_step(Log(path="/var/log/x"))

    assert bind(step, VALUES) == step


def test_nearest_is_at_hand() -> None:
    """Those who ask for recipes look for it here."""
    assert nearest("hots", ["db", "host"]) == "host"
