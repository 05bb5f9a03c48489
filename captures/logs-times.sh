#!/usr/bin/env bash
# Times in lines of logs, and times that people write. Sets now and zone (of the host, seconds east).
#
#   timed 'STAMP…'     awk with stamp(line): seconds since 1970 that a line names, -1 for none
#   epoch_of TEXT      seconds since 1970 of "15m", "2h", "1d" (back from now) or a date; "bad" where it is neither
export LC_ALL=C
now=$(date +%s)
zone=$(date +%z)
zone=$((${zone%????}1 * (10#${zone:1:2} * 3600 + 10#${zone:3:2} * 60)))

# Of the forms known, the one that stands first in the first
# line that has any is the log's: what follows in other forms is text.
STAMP='
  function days(y, m, d) {if (m <= 2) {y--; m += 12}; return 365 * y + int(y / 4) - int(y / 100) + int(y / 400) + int((153 * (m - 3) + 2) / 5) + d - 719469}
  function month(name) {return (index("JanFebMarAprMayJunJulAugSepOctNovDec", name) + 2) / 3}
  function clock(text,   part) {split(text, part, ":"); return part[1] * 3600 + part[2] * 60 + part[3]}
  function offset(text,   s) { # of a zone that stands first, else the one of the host
    sub(/^[.,][0-9]+/, "", text)
    if (text ~ /^ ?(Z|UTC|GMT)/) return 0
    if (text !~ /^ ?[+-][01][0-9]:?[0-9][0-9]/) return zone
    gsub(/[ :]/, "", text)
    s = substr(text, 2, 2) * 3600 + substr(text, 4, 2) * 60
    return text ~ /^-/ ? -s : s
  }
  BEGIN {
    time = "[0-9][0-9]:[0-9][0-9]:[0-9][0-9]"
    like[1] = "20[0-9][0-9][-/][01][0-9][-/][0-3][0-9][T ] *[0-9]?[0-9]:[0-9][0-9]:[0-9][0-9]" # ISO, log4j, Python, nginx, MySQL
    like[2] = "[0-3][0-9][/-][A-Z][a-z][a-z][/-]20[0-9][0-9][: ]" time # access logs, Tomcat
    like[3] = "[A-Z][a-z][a-z] [ 0-3][0-9] " time "([.][0-9]+)? 20[0-9][0-9]" # ctime, Apache
    like[4] = "^(<[0-9]+>)?[A-Z][a-z][a-z] [ 0-3][0-9] " time # syslog
    like[5] = "^[IWEF][01][0-9][0-3][0-9] " time # glog
    like[6] = "(^|(ts|time|stamp|Time)\" ?: ?\"?)1[0-9][0-9][0-9][0-9][0-9][0-9][0-9][0-9][0-9]" # seconds or milliseconds since 1970
  }
  function stamp(line,   i, at, length_, text, rest, m, y) {
    line = substr(line, 1, 300)
    if (form == "") {
      for (i = 1; i <= 6; i++) if (match(line, like[i]) && (at == "" || RSTART < at)) {at = RSTART; form = i}
      if (form == "") return -1
    }
    if (!match(line, like[form])) return -1
    text = substr(line, RSTART, RLENGTH)
    rest = substr(line, RSTART + RLENGTH)
    length_ = length(text)
    if (form == 1) {
      m = substr(text, 12)
      gsub(/ /, "", m)
      return days(substr(text, 1, 4) + 0, substr(text, 6, 2) + 0, substr(text, 9, 2) + 0) * 86400 + clock(m) - offset(rest)
    }
    if (form == 2) return days(substr(text, 8, 4) + 0, month(substr(text, 4, 3)), substr(text, 1, 2) + 0) * 86400 + clock(substr(text, 13)) - offset(rest)
    if (form == 3) return days(substr(text, length_ - 3) + 0, month(substr(text, 1, 3)), substr(text, 5, 2) + 0) * 86400 + clock(substr(text, 8, 8)) - zone
    if (form == 6) {sub(/.*[^0-9]/, "", text); return text + 0}
    y = year + 0
    if (form == 4) {sub(/^<[0-9]+[>]/, "", text); m = month(substr(text, 1, 3)); i = substr(text, 5, 2) + 0}
    else {m = substr(text, 2, 2) + 0; i = substr(text, 4, 2) + 0}
    text = substr(text, length(text) - 7)
    at = days(y, m, i) * 86400 + clock(text) - zone
    return at > now + 86400 ? days(y - 1, m, i) * 86400 + clock(text) - zone : at
  }
'
timed() { awk -v now="$now" -v zone="$zone" -v year="$(date +%Y)" "$@"; }

epoch_of() { # what a person wrote: 15, 15m, 2h, 1d back, or a date
  case $1 in
    '') ;;
    *-* | *T*) date -d "$1" +%s 2>/dev/null || echo bad ;;
    *h) echo $((now - 10#${1%h} * 3600)) ;;
    *d) echo $((now - 10#${1%d} * 86400)) ;;
    *) echo $((now - 10#${1%m} * 60)) ;;
  esac
}
