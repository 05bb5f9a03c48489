#!/usr/bin/env bash
# What one Node.js process is at: its threads, files and children, its diagnostic report, and where its time goes.
set -u -o pipefail

LOOKS=3
LOOK_S=1
BUSY_MS=900           # of a second; a main thread that runs or wants to for so long has no time for signals
REPORT_S=4            # for the process to write its report
REPORT_BYTES=1500000  # of the report that is kept
REPORT_CONNECTIONS=50 # a report asks for the name of each peer, while the process stands still
OPENED_S=2            # for the inspector to listen
CLIENT_S=10           # for the inspector to answer, beside the seconds of the profile

choose Node.js '^node(js)?$' libnode.so

status_of() { awk -v key="$1:" '$1 == key {print $(1 + n)}' n="${2:-1}" "/proc/$pid/status" 2>/dev/null; }

unseen() { # kind, what is not seen, and what would mend that
  section unseen "kind=$1"
  shift
  printf '%s\n' "$@"
}

# --- how it was started ----------------------------------------------------------------------

reports='' signal=USR2 directory='' filename='' compact='' no_peers='' inspector=9229

option() { # word, the next word
  local value=${1#*=}
  case $1 in *=*) ;; *) value=${2-} ;; esac
  case $1 in
    --report-on-signal) reports=yes ;;
    --report-signal | --report-signal=*) signal=${value#SIG} ;;
    --report-directory | --report-directory=* | --report-dir | --report-dir=*) directory=$value ;;
    --report-filename | --report-filename=*) filename=$value ;;
    --report-compact) compact=yes ;;
    --report-exclude-network) no_peers=yes ;;
    --inspect=* | --inspect-port=* | --debug-port=* | --inspect-brk=* | --inspect-wait=*) inspector=${value##*:} ;;
  esac
}

options() { # of node itself: those of the program stand behind its name
  local -a words=()
  local word skip=''
  { mapfile -d '' -t words <"/proc/$pid/cmdline"; } 2>/dev/null
  set -- "${words[@]:1}"
  while [ $# -gt 0 ]; do
    case $1 in
      -r | --require | --import | --loader | --experimental-loader | -C | --conditions | --title) skip=yes ;;
      --report-signal | --report-directory | --report-dir | --report-filename) skip=yes ;;
      -*) skip='' ;;
      *) break ;;
    esac
    option "$1" "${2-}"
    [ -z "$skip" ] || shift
    shift
  done
  # shellcheck disable=SC2046  # words are wanted
  set -- $(cat "/proc/$pid/environ" 2>/dev/null | tr '\0' '\n' | sed -n 's/^NODE_OPTIONS=//p' | tr -d '*?[')
  while [ $# -gt 0 ]; do
    option "$1" "${2-}"
    shift
  done
}

catches() { # signal: asked anew each time, just before it is sent
  local number mask
  number=$(kill -l "$1" 2>/dev/null) && mask=$(status_of SigCgt) && [ -n "$mask" ] &&
    [ $(((0x$mask >> (number - 1)) & 1)) -eq 1 ]
}

me=$(id -u) uid=$(status_of Uid 2)
inner=$(awk '/^NSpid:/ {print $NF}' "/proc/$pid/status" 2>/dev/null) # what it calls itself, in a container
inner=${inner:-$pid}
exe=$(readlink "/proc/$pid/exe" 2>/dev/null)
owner=() there=() # as its owner; and where it lives
if [ "$me" = 0 ]; then
  if [ "$(readlink "/proc/$pid/ns/mnt")" != "$(readlink /proc/self/ns/mnt)" ] || [ "$(readlink "/proc/$pid/ns/net")" != "$(readlink /proc/self/ns/net)" ]; then
    there=(nsenter -t "$pid" -m -n)
  fi
  [ "$uid" = 0 ] || owner=(setpriv "--reuid=$uid" "--regid=$(status_of Gid 2)" --clear-groups)
  there+=(${owner[@]+"${owner[@]}"})
fi
its() { timeout --foreground -k 1 "$1" ${there[@]+"${there[@]}"} "${@:2}"; } # seconds, program, argument …

as_owner() { # so that nobody's folder can make us read or remove what its owner may not
  timeout --foreground -k 1 5 ${owner[@]+"${owner[@]}"} "$@" 2>/dev/null
}

options

# --- from outside ----------------------------------------------------------------------------

look() { # number
  section threads "n=$1" "pid=$pid"
  printf 'tid\tstate\tran_ms\twaited_ms\tswitches\twchan\tname\n'
  local -a tasks=("/proc/$pid/task/"[0-9]*)
  tasks=("${tasks[@]:0:200}")
  grep -asH '' "${tasks[@]/%//schedstat}" "${tasks[@]/%//wchan}" "${tasks[@]/%//status}" | awk -v OFS='\t' '
    {split($0, path, "/"); tid = path[5]; line = substr($0, index($0, ":") + 1); split(line, word, "[ \t]+")}
    $0 ~ /^[^:]*\/schedstat:/ {ran[tid] = int(word[1] / 1e6); waited[tid] = int(word[2] / 1e6); order[++n] = tid}
    $0 ~ /^[^:]*\/wchan:/ {wchan[tid] = word[1]}
    word[1] == "Name:" {name[tid] = word[2]}
    word[1] == "State:" {state[tid] = word[2]}
    word[1] ~ /voluntary_ctxt_switches:$/ {switches[tid] += word[2]}
    END {
      for (i = 1; i <= n; i++) {
        tid = order[i]
        gsub(/[^ -~]|\\/, "?", name[tid])
        print tid, state[tid], ran[tid], waited[tid], switches[tid] + 0, (wchan[tid] == "" || wchan[tid] == "0" ? "-" : wchan[tid]), name[tid]
      }
    }'
}

main_ms() { awk '{print int(($1 + $2) / 1e6)}' "/proc/$pid/task/$pid/schedstat" 2>/dev/null; } # ran, or wanted to

case $(status_of State) in
  T | t)
    unseen stopped "It is stopped (SIGSTOP or a debugger): nothing in it runs until kill -CONT $pid"
    exit 0
    ;;
esac

before=$(main_ms) after=
for ((n = 1; n <= LOOKS; n++)); do
  [ "$n" -eq 1 ] || sleep "$LOOK_S"
  look "$n"
done
after=$(main_ms)
if [ ! -d "/proc/$pid" ] || [ -z "$after" ]; then
  unseen gone "It ended while it was looked at"
  exit 0
fi
is_busy=
[ $((after - before)) -lt $((BUSY_MS * LOOK_S * (LOOKS - 1))) ] || is_busy=yes

section memory
grep -sE '^(VmRSS|VmSwap|VmHWM|RssAnon|RssFile|Threads):' "/proc/$pid/status"
section files "limit=$(awk '/^Max open files/ {print $4}' "/proc/$pid/limits" 2>/dev/null)"
printf 'count\tkind\n'
find "/proc/$pid/fd" -maxdepth 1 -mindepth 1 -printf '%l\n' 2>/dev/null | head -n 200000 |
  sed -E 's/^(socket|pipe|anon_inode):.*(eventpoll|eventfd|io_uring|inotify).*/\2/; s/^(socket|pipe|anon_inode):.*/\1/; s/^\/.*/file/' |
  sort | uniq -c | sort -rn | head -n 20 | awk -v OFS='\t' '{print $1, $2}'
section children
printf 'pid\tstate\tage_s\tcommand\n'
ps -o pid=,stat=,etimes=,args= --ppid "$pid" 2>/dev/null | head -n 50 |
  awk -v OFS='\t' '{command = $0; for (i = 1; i < 4; i++) sub(/^ *[^ ]+ +/, "", command); gsub(/[^ -~]|\\/, "?", command); print $1, substr($2, 1, 1), $3, substr(command, 1, 200)}'

# --- its own report --------------------------------------------------------------------------

without_environment() { # from standard input; a report in one line needs a JSON parser, and node is one
  if [ -z "$compact" ]; then
    sed -E '/^  "(environmentVariables|sharedObjects)": [[{]$/,/^  []}],?$/d'
  else
    its 5 "$exe" -e 'let text = ""; process.stdin.on("data", d => text += d).on("end", () => {
      const report = JSON.parse(text); delete report.environmentVariables; delete report.sharedObjects
      console.log(JSON.stringify(report, null, 2))})' 2>/dev/null
  fi
}

may_signal() { [ "$me" = 0 ] || [ "$me" = "$uid" ]; }

connections() { timeout 5 ${there[@]+nsenter -t "$pid" -n} ss -Htnp 2>/dev/null | grep -cF "pid=$pid,"; }

why_no_report() { # → one reason, or nothing
  if [ "$PARAM_REPORT" = no ]; then
    unseen chosen "No report was asked for (report=no)"
  elif [ -z "$reports" ]; then
    unseen report "It writes no diagnostic report: it was not started with --report-on-signal" \
      "NODE_OPTIONS=--report-on-signal in its environment, and a restart, would change that. Without it SIGUSR2 ends it: nothing was sent."
  elif ! may_signal; then
    unseen report "It belongs to $user, and $(id -un) may not signal it: log in as root or $user"
  elif ! catches "$signal"; then
    unseen report "It was started with --report-on-signal but does not catch SIG$signal, which would end it: nothing was sent"
  elif [ "$filename" = stdout ] || [ "$filename" = stderr ]; then
    unseen report "It writes its reports to $filename, where they are out of reach: --report-filename"
  elif [ "$PARAM_REPORT" = auto ] && [ "$is_busy" ]; then
    unseen report "No report was asked for: its main thread has no time to write one (report=yes asks all the same)"
  elif [ "$PARAM_REPORT" = auto ] && [ -z "$no_peers" ] && [ "$(connections)" -gt "$REPORT_CONNECTIONS" ]; then
    unseen report "No report was asked for: it would stand still while it finds the names of its $(connections) peers (report=yes asks all the same)"
  fi
}

asked='' folder=''
declare -A known=()

report() {
  local found='' each ends
  case $directory in
    /*) folder=/proc/$pid/root$directory ;;
    *) folder=/proc/$pid/cwd/$directory ;;
  esac
  for each in "$folder"/report.*."$inner".*.json ${filename:+"$folder/$filename"}; do known[$each]=yes; done
  if [ "$filename" ] && [ -e "$folder/$filename" ]; then
    unseen report "No report was asked for: it would be written over ${directory:-.}/$filename, which is there already"
    return
  fi
  section asked "signal=SIG$signal"
  asked=yes
  catches "$signal" && kill -s "$signal" "$pid" || return
  ends=$((SECONDS + REPORT_S))
  while [ -z "$found" ] && [ "$SECONDS" -lt "$ends" ]; do
    sleep 0.1
    for each in "$folder"/report.*."$inner".*.json ${filename:+"$folder/$filename"}; do
      [ "${known[$each]-}" ] && [ "$each" != "$folder/$filename" ] && continue
      [ -f "$each" ] && [ ! -L "$each" ] && [ "$(as_owner tail -c 2 -- "$each" | tr -d '[:space:]')" = '}' ] && found=$each
    done
  done
  if [ -z "$found" ]; then
    unseen silent "It did not write its report within $REPORT_S s" "When its event loop turns again it will, in ${directory:-its working directory}: nobody removes that file."
    return
  fi
  section report
  as_owner cat -- "$found" | without_environment | sed 's/^### /  &/' | head -c "$REPORT_BYTES"
  as_owner rm -f -- "$found" || unseen left "The report could not be removed: $(cell 200 <<<"${found##*/}") in ${directory:-its working directory}"
}

# --- where its time goes ---------------------------------------------------------------------

listening() { # its ports on loopback
  timeout 5 ${there[@]+nsenter -t "$pid" -n} ss -Htlnp 2>/dev/null | grep -F "pid=$pid," |
    awk '$4 ~ /^(127\.|\[::1\])/ {sub(/.*:/, "", $4); print $4}'
}

# Speaks to the inspector: an HTTP request for its address, and messages in frames of WebSocket (RFC 6455), which node 21 and
# older have no client for. What runs for long is interrupted by V8 for each sample, so that a blocked event loop is seen too.
CLIENT='
const http = require("http"), net = require("net"), crypto = require("crypto")
const [port, seconds, close] = [process.argv[1], Number(process.argv[2]), process.argv[3] === "yes"]
http.get({host: "127.0.0.1", port, path: "/json/list"}, answer => {
  let text = ""
  answer.on("data", data => { text += data }).on("end", () => speak(new URL(JSON.parse(text)[0].webSocketDebuggerUrl).pathname))
})
const speak = path => {
  const socket = net.connect(port, "127.0.0.1"), waiting = new Map()
  let open = false, last = 0, held = Buffer.alloc(0), parts = []
  socket.write(`GET ${path} HTTP/1.1\r\nHost: 127.0.0.1:${port}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n` +
    `Sec-WebSocket-Key: ${crypto.randomBytes(16).toString("base64")}\r\nSec-WebSocket-Version: 13\r\n\r\n`)
  const ask = (method, params = {}) => new Promise(resolve => {
    const text = Buffer.from(JSON.stringify({id: ++last, method, params})), size = text.length
    waiting.set(last, resolve)
    const head = size < 126 ? [0x81, 0x80 | size] : [0x81, 0xfe, size >> 8, size & 255]
    socket.write(Buffer.concat([Buffer.from(head), Buffer.alloc(4), text]))
  })
  socket.on("data", data => {
    held = Buffer.concat([held, data])
    if (!open) {
      const end = held.indexOf("\r\n\r\n")
      if (end < 0) return
      open = true
      held = held.subarray(end + 4)
      profile(ask).then(() => socket.destroy())
    }
    for (;;) {
      if (held.length < 2) return
      let size = held[1] & 127, start = 2
      if (size === 126) { if (held.length < 4) return; size = held.readUInt16BE(2); start = 4 }
      if (size === 127) { if (held.length < 10) return; size = Number(held.readBigUInt64BE(2)); start = 10 }
      if (held.length < start + size) return
      const final = held[0] & 128
      parts.push(held.subarray(start, start + size))
      held = held.subarray(start + size)
      if (!final) continue
      const answer = JSON.parse(Buffer.concat(parts).toString() || "{}")
      parts = []
      if (waiting.has(answer.id)) waiting.get(answer.id)(answer.result || {})
    }
  })
}
const name = frame => (frame.functionName || "(anonymous)") + "\t" + (frame.url ? frame.url.replace(/^file:\/\//, "") + ":" + (frame.lineNumber + 1) : "-")
const profile = async ask => {
  await ask("Profiler.enable")
  await ask("Profiler.setSamplingInterval", {interval: 2000})
  await ask("Profiler.start")
  await new Promise(resolve => setTimeout(resolve, seconds * 1000))
  const taken = (await ask("Profiler.stop")).profile || {nodes: []}
  const memory = await ask("Runtime.evaluate", {expression: "JSON.stringify(process.memoryUsage())"})
  await ask("Profiler.disable")
  if (close) { ask("Runtime.evaluate", {expression: "process._debugEnd()"}); await new Promise(resolve => setTimeout(resolve, 300)) }
  const callers = new Map(), own = new Map()
  for (const node of taken.nodes) for (const child of node.children || []) callers.set(child, node)
  let samples = 0
  for (const node of taken.nodes) {
    samples += node.hitCount
    const known = own.get(name(node.callFrame)) || {hits: 0, most: 0}
    known.hits += node.hitCount
    if (node.hitCount >= known.most) {
      known.most = node.hitCount
      let caller = callers.get(node.id)
      while (caller && name(caller.callFrame) === name(node.callFrame)) caller = callers.get(caller.id)
      known.caller = caller && caller.callFrame.url ? name(caller.callFrame) : "-\t-"
    }
    own.set(name(node.callFrame), known)
  }
  const rows = [...own].filter(([, known]) => known.hits).sort((a, b) => b[1].hits - a[1].hits).slice(0, 40)
  console.log("hits\tof\tfunction\tplace\tcaller\tcaller_place")
  for (const [frame, known] of rows) console.log([known.hits, samples, frame, known.caller].join("\t").replace(/[^ -~\t]|\\/g, "?"))
  if (memory.result) console.log("-- " + memory.result.value)
}
'

port='' opened=''

finish() { # what a stop would leave behind: reports that came meanwhile, and an open inspector
  local each
  [ -z "$asked" ] || for each in "$folder"/report.*."$inner".*.json; do [ "${known[$each]-}" ] || as_owner rm -f -- "$each"; done
  port=${port:-$inspector}
  [ -z "$opened" ] || ! listening | grep -qx "$port" || its 3 "$exe" -e "$CLIENT" "$port" 0 yes >/dev/null 2>&1
}

open_inspector() { # sets port, and opened where it was not open before
  local before ends
  before=$(listening)
  if grep -qx "$inspector" <<<"$before"; then
    port=$inspector
  elif [ "$PARAM_INSPECTOR" = no ]; then
    return
  elif ! may_signal; then
    unseen inspector "It belongs to $user, and $(id -un) may not signal it: log in as root or $user"
  elif ! catches USR1; then
    unseen inspector "It does not catch SIGUSR1, which would end it: nothing was sent"
  else
    section asked signal=SIGUSR1
    opened=yes
    kill -s USR1 "$pid"
    ends=$((SECONDS + OPENED_S))
    while [ -z "$port" ] && [ "$SECONDS" -le "$ends" ]; do
      sleep 0.1
      port=$(listening | grep -vxF "${before:-none}" | head -n 1)
    done
    [ "$port" ] || unseen inspector "Its inspector did not open within $OPENED_S s"
  fi
}

trap finish EXIT
trap 'exit 130' INT TERM
reason=$(why_no_report)
if [ "$reason" ]; then printf '%s\n' "$reason"; else report; fi
open_inspector
if [ "$port" ] && may_signal; then
  profile=$(its $((PARAM_SECONDS + CLIENT_S)) "$exe" -e "$CLIENT" "$port" "$PARAM_SECONDS" "$opened" 2>/dev/null)
  if [ "$profile" ]; then
    section profile "seconds=$PARAM_SECONDS"
    printf '%s\n' "$profile"
  else
    unseen inspector "Its inspector did not answer within $CLIENT_S s: it stands still in code that is no JavaScript"
  fi
  [ -z "$opened" ] || ! listening | grep -qx "$port" || unseen left "Its inspector is still open, on port $port of loopback"
fi
exit 0
