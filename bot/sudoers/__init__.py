"""What an operator installs on a host so that steps see there what root sees, and nothing else is root's.

For each script there is one program of root's with that script in it (`bot.transports.becoming` says how it is
called), and one line of sudoers that lets the bot's account run it: by its checksum, without arguments, with an empty
environment. Who takes over the account can do what the recipes do, with the parameters that they take, and no more.
Steps that leave a file stay without root: what they leave is all that a process holds.
"""

from __future__ import annotations

import hashlib
import shlex
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from bot import __version__
from bot.model import File, Parameter, Recipe, Script, Step
from bot.recipes.parameters import used
from bot.sudoers.matching import literal, rule_of
from bot.transports.becoming import FOLDER, WANTS, allowed_by, program_of
from bot.transports.reading import VARIABLE
from bot.yamlfile import listed

FILE = "/etc/sudoers.d/capturebot"
VALUE_CHARS = 200

# What a step sees as root, of what it may want.
SIGHT = {
    "root": "the open files, memory figures, sockets and programs of every process",
    "ptrace": "the stacks of every process, by reading its memory",
    "kernel-log": "the kernel's messages",
    "journal": "logs, of files that are called or lie like logs, and the whole journal",
    "packets": "packets",
    "perf-events": "which functions every process and the kernel spend their time in",
    "bpf": "system calls and connections of every process, counted in the kernel",
}
# What steps that leave a file take instead.
INSTEAD = {
    "packets": "groupadd -f pcap; usermod -aG pcap {user}; chgrp pcap $(command -v tcpdump); chmod 750 $(command -v tcpdump); setcap cap_net_raw,cap_net_admin=eip $(command -v tcpdump)",
    "ptrace": "log in as the process's own user",
    "root": "log in as the process's own user",
}

_PROGRAM = r"""#!/bin/bash -p
# %(title)s
# Made by `capturebot sudoers` %(version)s; its checksum stands in %(file)s.
set -u
PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin LC_ALL=C
export PATH LC_ALL
umask 077
cd /
trap : INT TERM
while IFS= read -r line && [ "$line" ]; do
  name=${line%%%%=*} value=${line#*=}
  case $name in
%(rules)s
    *) rule='' ;;
  esac
  if [ -z "$rule" ] || [ ${#value} -gt %(chars)s ] || [[ ! $value =~ $rule ]]; then
    echo "$name is no parameter of this step, or may not have that value" >&2
    exit 2
  fi
  export "$name=$value"
done
%(allowed)sfind /var/tmp -maxdepth 1 -name 'capturebot-root-*' -user root -mmin +60 -exec rm -rf {} +
CAPTURE_SCRATCH=$(mktemp -d /var/tmp/capturebot-root-XXXXXXXX) || exit
export CAPTURE_SCRATCH
exec 4<&0 </dev/null
( # Who started this may not signal it: the end of its input is what ends it.
  own=$BASHPID
  trap '' INT TERM
  cat <&4 >/dev/null
  kill -s INT 0
  sleep 1
  kill -s TERM 0
  sleep 1
  group=$(sed 's/.*) [A-Za-z] [0-9]* \([0-9]*\) .*/\1/' /proc/$$/stat)
  sed -n "s/^\([0-9]*\) (.*) [^ZX] [0-9]* $group .*/\1/p" /proc/[0-9]*/stat 2>/dev/null |
    grep -vx -e $$ -e $PPID -e "$own" | xargs -r kill -s KILL
) >/dev/null 2>&1 &
watch=$!
disown "$watch"
bash -p /dev/fd/5 5<<'CAPTUREBOT_SCRIPT_ENDS' 4<&-
%(script)s
CAPTUREBOT_SCRIPT_ENDS
status=$?
rm -rf -- "$CAPTURE_SCRATCH"
kill -s KILL "$watch"
exit "$status"
"""

_HEAD = """\
# Made by `capturebot sudoers` {version} for {user}. Each line lets {user} run one program of root's as it is: its
# checksum is compared, it takes no argument (the "" behind it), its environment is empty, and it matches its
# parameters again before its script gets them. No line holds a wildcard, a shell, an editor, a debugger or tcpdump.
"""

_INSTALL = r"""#!/bin/sh
# Run this as root on the host: capturebot sudoers --install ... | ssh root@HOST sh
set -eu
umask 022
[ "$(id -u)" = 0 ] || { echo "capturebot: this is to be run as root" >&2; exit 1; }
new=$(mktemp -d)
trap 'rm -rf "$new"' EXIT
%(files)scat >"$new/sudoers" <<'CAPTUREBOT_FILE_ENDS'
%(sudoers)sCAPTUREBOT_FILE_ENDS
visudo -cqf "$new/sudoers"
mkdir -p %(folder)s
chown root:root %(folder)s
chmod 755 %(folder)s
rm -f %(folder)s/*-????????????
install -o root -g root -m 555 "$new"/*-???????????? %(folder)s
install -o root -g root -m 440 "$new/sudoers" %(file)s.new
mv %(file)s.new %(file)s
echo "ok: %(count)s of root's programs may be run by %(user)s"
"""


@dataclass(slots=True)
class Grant:
    """One program of root's: the script in it, who uses it, and what its parameters must match."""

    path: str
    script: Script
    allowed: str
    wants: set[str] = field(default_factory=set)
    users: list[str] = field(default_factory=list)
    rules: dict[str, set[str]] = field(default_factory=dict)

    @property
    def program(self) -> str:
        """The text of the program."""
        rules = [
            f"    PARAM_{name.upper()}) rule={shlex.quote('^(' + '|'.join(sorted(each)) + ')$')} ;;"
            for name, each in sorted(self.rules.items())
        ]
        return _PROGRAM % {
            "title": f"{'; '.join(self.users)}.",
            "version": __version__,
            "file": FILE,
            "rules": "\n".join(rules),
            "chars": VALUE_CHARS,
            "allowed": f"export {VARIABLE}='{self.allowed}'\n" if self.allowed else "",
            "script": self.script.text.rstrip("\n"),
        }

    @property
    def line(self) -> str:
        """The lines of sudoers, with what they let the account see."""
        sees = "; ".join(SIGHT[want] for want in sorted(self.wants))
        parameters = f" It takes {listed([f'{name}' for name in sorted(self.rules)])}." if self.rules else ""
        digest = hashlib.sha256(self.program.encode()).hexdigest()
        return (
            f"\n# {'; '.join(self.users)}.\n# As root it sees {sees}.{parameters}\n"
            f'Cmnd_Alias {self.alias} = sha256:{digest} {self.path} ""\n'
        )

    @property
    def alias(self) -> str:
        """The name of its alias."""
        return "CAPTUREBOT_" + self.path.rsplit("/", 1)[-1].upper().replace("-", "_")


def grants(recipes: Iterable[Recipe], paths: Sequence[str] | None) -> list[Grant]:
    """A program for each script that sees more as root. Raises ValueError for a parameter that bash could not match."""
    found: dict[str, Grant] = {}
    for recipe in recipes:
        parameters = {parameter.name: parameter for parameter in recipe.parameters}
        for step in recipe.steps:
            if (path := program_of(step, paths)) is None or not isinstance(step.action, Script):
                continue
            grant = found.setdefault(path, Grant(path, step.action, allowed_by(step.action, paths)))
            grant.wants |= WANTS & set(step.wants)
            grant.users.append(f"{recipe.name}: {step.title}")
            for name in used(step.action):
                if rules := _rules(step, name, parameters):
                    grant.rules.setdefault(name, set()).update(rules)
    return [grant for _, grant in sorted(found.items())]


def _rules(step: Step, name: str, parameters: Mapping[str, Parameter]) -> list[str]:
    """What the recipe of *step* may give it as *name*; nothing where its script has a default of its own."""
    passed = step.passed.get(name)
    if passed and passed.source is None:
        return [] if passed.value is None else [literal(str(passed.value))]
    parameter = parameters.get(passed.source if passed and passed.source else name)
    return [rule_of(parameter)] if parameter else []


def rules_text(found: Sequence[Grant], recipes: Iterable[Recipe], user: str) -> str:
    """The file for /etc/sudoers.d, with a comment on each line, and on what has none."""
    head = _HEAD.format(version=__version__, user=user)
    left_out = [
        f"\n# {recipe.name}: {step.title}: has no line, as it leaves a file of what a process or the network holds."
        f"\n# Instead: {INSTEAD[want].format(user=user)}\n"
        for recipe in recipes
        for step in recipe.steps
        if isinstance(step.action, File)
        for want in step.wants
        if want in INSTEAD
    ]
    if not found:
        return head + "".join(left_out)
    aliases = ", ".join(grant.alias for grant in found)
    return "".join(
        [
            head,
            *(grant.line for grant in found),
            *left_out,
            f"\nCmnd_Alias CAPTUREBOT = {aliases}\n",
            "# No terminal is needed, and none is made: a program of its own session could not be ended with its step.\n",
            "Defaults!CAPTUREBOT !requiretty, !use_pty, env_reset, !setenv\n",
            f"{user} ALL=(root) NOPASSWD: NOSETENV: CAPTUREBOT\n",
        ]
    )


def install_text(found: Sequence[Grant], rules: str, user: str) -> str:
    """A program for root's shell that installs all of it, or nothing."""
    files = [
        f"cat >\"$new/{grant.path.rsplit('/', 1)[-1]}\" <<'CAPTUREBOT_FILE_ENDS'\n{grant.program}CAPTUREBOT_FILE_ENDS\n"
        for grant in found
    ]
    return _INSTALL % {
        "files": "".join(files),
        "sudoers": rules,
        "folder": FOLDER,
        "file": FILE,
        "count": len(found),
        "user": user,
    }
