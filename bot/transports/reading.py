"""How logs are read on a host, and which files may be: as the host itself checks it, on the file that it has opened.

What is opened is never judged by the name that it was opened by: a name can be a link, or become one meanwhile. The
kernel says where an open file lies (``/proc/PID/fd/N``), and all that is read is read from that descriptor.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

VARIABLE = "CAPTURE_PATHS"  # of a script that reads files which people name

# dd reads up to the size at the start, so that a log that grows has an end; a last part begins at a line. The file is
# judged and read by its descriptor: what its name leads to may be another one a moment later.
FILE = r"""file=$1 last=$2 paths=$3 start=0
refuse() { echo "$*" >&2; exit 1; }
[ -e "$file" ] || refuse "$file does not exist, or $(id -un) may not look there"
[ -f "$file" ] || refuse "$file is not a regular file"
[ -r "$file" ] || refuse "$file may not be read by $(id -un)"
exec 4<"$file"
open=/proc/$$/fd/4
[ -f "$open" ] || refuse "$file is not a regular file"
real=$(readlink "$open")
real=${real% (deleted)}
[ "$real" = "$file" ] && name=$file || name="$file leads to $real, which"
case $real in /proc/* | /sys/* | /dev/*) refuse "$name is not a file on a disk" ;; esac
set -- $(stat -Lc '%s %h' "$open")
size=$1
if [ "$paths" ]; then
  case $real in *[[:cntrl:]]*) refuse "$file has a control character in its name" ;; esac
  printf '%s\n' "$real" | grep -Eq -e "$paths" || refuse "$name is not among the paths that may be read here: add it to paths: of this target in capturebot.yml"
  [ "$2" -le 1 ] || refuse "$name has $2 names (hard links), so that it may belong elsewhere: copy it instead of linking it"
fi
if [ "$last" -ge 0 ] && [ "$size" -gt "$last" ]; then
  start=$((size - last))
  set -- $(dd if="$open" bs=64K count=1 iflag=skip_bytes skip=$((start - 1)) status=none | head -n 1 | wc -lc)
  [ "$1" = 1 ] && start=$((start - 1 + $2))
fi
exec dd if="$open" bs=256K iflag=skip_bytes,count_bytes skip="$start" count=$((size - start)) status=none"""

UNIT = 'exec journalctl --unit="$1" --no-pager --output=short-iso'
# The shortest line of the journal has some 32 bytes, so this many lines hold the last bytes.
UNIT_LAST = r"""journalctl --unit="$1" --no-pager --output=short-iso --lines=$(($2 / 32 + 1)) | tail -c "$2" |
  sed '1{/^[0-9]\{4\}-[0-9][0-9]-[0-9][0-9]T/!{/^-- /!d;};}'"""

_PART = re.compile(r"/\*\*/|\*\*|[*?]|[^*?]")


def expression(paths: Iterable[str]) -> str:
    """An extended regular expression for `grep -E` and bash that matches the whole of exactly these paths.

    ``*`` and ``?`` stay within a name, ``**`` is folders of any depth and what lies in them.
    """
    return f"^({'|'.join(''.join(map(_translated, _PART.findall(path))) for path in paths)})$"


def _translated(part: str) -> str:
    match part:
        case "/**/":
            return "/(.*/)?"
        case "**":
            return ".*"
        case "*":
            return "[^/]*"
        case "?":
            return "[^/]"
    return part if part.isalnum() or part in "/_@,:=~% -" else f"[{part}]"
