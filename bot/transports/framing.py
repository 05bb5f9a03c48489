r"""How a step that leaves a file sends both, its report and the file, over one standard output.

Each line of the report comes behind a blank, so that an empty line, which no report can hold then, ends it; it
is followed by another one, where the last line was a whole one, and ``=``. All that comes then is the file. What is known of it by then comes as a remark on stderr (see `shell`)::

    TOKEN file STATUS SIZE FREE TOTAL ENDING     STATUS is the script's; SIZE is -1 where it left no file

SIZE counts the file as it lies there, FREE and TOTAL the bytes of the file system under it. ENDING is what
compressing adds to the name, "" where it comes as it is. Whether all of it came is told by the status of the
step, which is the script's then.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

NEEDS = ("sed", "stat", "stdbuf")

# How a step becomes its program, behind shell._INSIDE: "$@" is the program, "$0" the token; 9 and 7 are not for it.
PLAIN = 'exec "$@" 7>&- 9>&-'

# INT ends the program, and not the report about it: on INT a script may still give what it has so far.
WITH_FILE = r"""file=$CAPTURE_SCRATCH/$1 squeeze=$2
shift 2
exec 5>&1
trap : INT
status=$(
  trap : INT
  {
    {
      trap : INT
      "$@" 5>&- 6>&- 7>&- 9>&-
      echo "$?" >&6
    } | {
      trap '' INT
      exec stdbuf -oL sed 's/^/ /' >&5 6>&- 7>&- 9>&-
    }
  } 6>&1
) || exit
size=-1 pack=cat ending=
if [ -f "$file" ] && [ ! -L "$file" ]; then
  size=$(stat -c %s -- "$file")
  if [ "$squeeze" = yes ] && command -v zstd >/dev/null; then
    pack='zstd -q -c -1' ending=.zst
  elif [ "$squeeze" = yes ] && command -v gzip >/dev/null; then
    pack='gzip -c -1' ending=.gz
  fi
fi
set -- $(stat -f -c '%a %S %b' -- "$CAPTURE_SCRATCH")
echo "$0 file ${status:-130} $size $(($1 * $2)) $(($3 * $2)) $ending" >&2
printf '\n\n=' >&5
if [ "$size" -ge 0 ]; then
  ionice -c 2 -n 7 -p $$ 2>/dev/null
  nice -n 10 $pack <"$file" >&5 7>&- 9>&- || exit 74
fi
exit "${status:-130}"
"""

_TYPES = {".zst": "application/zstd", ".gz": "application/gzip"}
_END = re.compile(rb"\n\n\n?=")


class Unframer:
    """Takes a report and a file apart again, however they were chunked."""

    def __init__(self) -> None:
        self.in_file = False  # the report is over
        # Ends of lines whose follower tells what they are; the first of them was given out already.
        self._held = b"\n"

    def feed(self, data: bytes) -> tuple[bytes, bytes]:
        """What *data* adds to the report, and to the file."""
        if self.in_file:
            return b"", data
        given, data = len(self._held[:1]), self._held + data
        if end := _END.search(data):
            self.in_file = True
            report, file = data[: end.start() + 1], data[end.end() :]
        else:
            rest = data.rstrip(b"\n")
            self._held = data[len(rest) :]
            report, file = rest + self._held[:1], b""
        return report.replace(b"\n ", b"\n")[given:], file


@dataclass(frozen=True, slots=True, kw_only=True)
class FileNote:
    """What the remark says. *size_bytes* is None where there is no file."""

    status: int
    size_bytes: int | None
    free_bytes: int
    total_bytes: int
    ending: str

    def type(self, plain: str) -> str:
        """The media type of what comes, for a file of the type *plain*."""
        return _TYPES.get(self.ending, plain)


def read_note(words: list[str]) -> FileNote | None:
    """Understand the remark; None for what is none."""
    if not 4 <= len(words) <= 5 or not all(re.fullmatch(r"-?[0-9]{1,18}", word) for word in words[:4]):
        return None
    status, size, free, total = map(int, words[:4])
    ending = words[4] if len(words) > 4 and words[4] in _TYPES else ""
    return FileNote(
        status=status, size_bytes=size if size >= 0 else None, free_bytes=free, total_bytes=total, ending=ending
    )
