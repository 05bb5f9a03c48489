#!/usr/bin/env bash
# One URL asked a few times from here: how long each phase takes, and what the last answer says.
set -u

BODY_BYTES=1000000 # of an answer; what is longer is cut, and no more of it is asked for
HEAD_BYTES=8000    # of the header lines of an answer
RESOLVE_S=5
PAUSE_S=0.3 # between two tries

section() { # name, facts
  local name=$1
  shift
  printf '### %s at=%s%s\n' "$name" "$(date -u +%Y-%m-%dT%H:%M:%S.%6N+00:00)" "${*:+ $*}"
}

refuse() { # kind, why
  section refused "kind=$1"
  printf '%s\n' "$2"
  exit 0
}

plain() { tr -d '\000' | sed 's/^### /  &/'; } # nothing that is answered is a header of ours

cell() { tr -c '[:print:]' ' ' | tr '\\' '?' | head -c "${1:-200}" | sed 's/ *$//'; }

listeners() { # who listens, or who listens on one port: address, port, waiting, room, pid, command
  printf 'address\tport\twaiting\troom\tpid\tcommand\n'
  timeout 5 ss -Htlnp ${1:+sport = ":$1"} 2>/dev/null | awk -v OFS='\t' '{
    port = $4; sub(/.*:/, "", port)
    address = $4; sub(/:[0-9]*$/, "", address)
    command = $0; if (!sub(/.*users:\(\("/, "", command)) command = ""; sub(/".*/, "", command)
    pid = $0; if (!sub(/.*[(,]pid=/, "", pid)) pid = ""; sub(/[^0-9].*/, "", pid)
    print address, port, $2, $3, pid, command
  }' | sort -t "$(printf '\t')" -k 2n -u | head -n 100
}

# --- what is asked ---------------------------------------------------------------------------

url=$PARAM_URL
if [ -z "$url" ]; then
  section listening
  listeners
  exit 0
fi
scheme=${url%%://*} rest=${url#*://}
authority=${rest%%[/?]*}
target=${rest#"$authority"}
case $PARAM_ENDPOINT in
  health | healthz | metrics) target=/$PARAM_ENDPOINT ;;
  actuator-*) target=/actuator/${PARAM_ENDPOINT#actuator-} ;;
  pprof-goroutines) target='/debug/pprof/goroutine?debug=1' ;;
  pprof-heap) target='/debug/pprof/heap?debug=1' ;;
esac
case $target in /*) ;; *) target=/$target ;; esac
case $authority in
  \[*) host=${authority#[} host=${host%%]*} port=${authority##*]} port=${port#:} ;;
  *:*) host=${authority%:*} port=${authority##*:} ;;
  *) host=$authority port= ;;
esac
if [ -z "$port" ]; then
  case $scheme in https) port=443 ;; *) port=80 ;; esac
fi
shown="$scheme://$authority$target"
section url
printf 'url\thost\tport\tpatience_s\tverify\n%s\t%s\t%s\t%s\t%s\n' "$shown" "$host" "$port" "$PARAM_PATIENCE" "$PARAM_VERIFY"
if grep -qiE '[?&;](access_?|auth_?|api_?|secret_?|private_?)*(token|key|secret|password|passwd|pwd|sig|signature|credentials?)=' <<<"$target"; then
  refuse secret "The URL carries a secret in its query, which a server would write into its log; ask for a path without it."
fi

resolve() { # sets addresses and dns_ms
  local began=${EPOCHREALTIME/./}
  addresses=$(timeout "$RESOLVE_S" getent ahosts "$host" | awk '!seen[$1]++ {print $1}' | head -n 8)
  dns_ms=$(((${EPOCHREALTIME/./} - began) / 1000))
  case $host in *:* | [0-9]*.[0-9]*.[0-9]*.[0-9]*) dns_ms=0 ;; esac # no name, but an address
}

hands_out_credentials() { # address, as getent spells it: link-local, and where clouds and containers keep their metadata
  local hidden
  case $1 in
    169.254.* | 100.100.100.200 | 168.63.129.16 | 192.0.0.192 | fe[89ab]?:* | fd00:ec2:* | fd20:ce:*) return 0 ;;
    ::ffff:* | ::*.*.*.* | 64:ff9b:*) # an address of version 4 in one of version 6
      hidden=${1##*:}
      case $hidden in *.*) hands_out_credentials "$hidden" && return 0 ;; esac
      case $1 in *:a9fe:*) return 0 ;; esac
      ;;
    2002:a9fe:*) return 0 ;;
  esac
  return 1
}

# --- one try ---------------------------------------------------------------------------------

milliseconds() { echo $(((${EPOCHREALTIME/./} - $1) / 1000)); }

head_lines() { # header lines without what identifies somebody
  plain | tr -d '\r' | head -c "$HEAD_BYTES" |
    sed -E 's/^((set-cookie|cookie|[a-z-]*authorization|[a-z-]*authenticate|[a-z-]*token|[a-z-]*key)):.*/\1: [left out]/I'
}

with_curl() { # number: the body to descriptor 5
  local answer status facts pins=() each
  for each in $addresses; do
    case $each in *:*) each="[$each]" ;; esac
    pins+=("$each")
  done
  each=$(IFS=,; echo "${pins[*]}")
  answer=$(
    timeout -k 2 $((PARAM_PATIENCE + 2)) curl -q -sS --globoff --noproxy '*' --proto '=http,https' --max-redirs 0 \
      ${insecure:+-k} --resolve "$host:$port:$each" --max-time "$PARAM_PATIENCE" -A capturebot -H 'Accept: */*' \
      -D - -o /dev/fd/5 "$shown" -w \
      '\n--- code=%{http_code} address=%{remote_ip} connected=%{time_connect} secured=%{time_appconnect} asked=%{time_pretransfer} answered=%{time_starttransfer} ended=%{time_total} bytes=%{size_download}' 2>&1
  )
  status=$?
  facts=$(sed -n 's/^--- \(code=[0-9]\)/\1/p' <<<"$answer" | tail -n 1)
  section try "n=$1" tool=curl "exit=$status" "dns_ms=$dns_ms" ${facts:+"${facts/address= /address=- }"}
  sed '/^--- code=/d' <<<"$answer" | head_lines
}

with_bash() { # number: the body to descriptor 5. One timer for all, so that a server that is silent half-way costs no more
  local began answer status facts address=${addresses%%$'\n'*}
  began=${EPOCHREALTIME/./}
  answer=$(
    address=$address port=$port host=$authority target=$target began=$began timeout -k 2 "$PARAM_PATIENCE" bash -c '
      since() { local now=${EPOCHREALTIME/./}; printf "%d.%06d" $(((now - began) / 1000000)) $(((now - began) % 1000000)); }
      exec 3<>"/dev/tcp/$address/$port" || exit 7
      connected=$(since)
      echo "--- connected=$connected asked=$connected"
      printf "GET %s HTTP/1.0\r\nHost: %s\r\nUser-Agent: capturebot\r\nAccept: */*\r\nConnection: close\r\n\r\n" "$target" "$host" >&3
      IFS= read -r line <&3 || exit 52
      echo "--- answered=$(since)"
      code=${line#* }
      echo "--- code=${code%%[!0-9]*}"
      while line=${line%[[:cntrl:]]}; [ -n "$line" ]; do
        printf "%s\n" "$line"
        IFS= read -r line <&3 || break
      done
      cat <&3 >&5
      echo "--- ended=$(since)"' 2>&1
  )
  status=$?
  case $status in 124 | 137) status=28 ;; esac # as curl calls it
  facts=$(sed -n 's/^--- //p' <<<"$answer" | tr '\n' ' ')
  section try "n=$1" tool=bash "exit=$status" "dns_ms=$dns_ms" "address=$address" ${facts:+"${facts% }"}
  sed '/^--- /d; s/^bash: [^:]*: //' <<<"$answer" | head_lines
}

insecure=
[ "$PARAM_VERIFY" = yes ] || insecure=yes
tool=with_curl
if ! curl --version >/dev/null 2>&1; then
  [ "$scheme" = http ] || refuse tool "Without curl https cannot be asked here: apt-get install curl"
  tool=with_bash
fi

body=
exec 7>&1
for ((n = 1; n <= PARAM_TRIES; n++)); do
  resolve
  if [ -z "$addresses" ]; then
    section try "n=$n" exit=6 "dns_ms=$dns_ms"
    continue
  fi
  for each in $addresses; do
    hands_out_credentials "${each,,}" && refuse metadata "$host leads to $each, where clouds hand out credentials; it is not asked."
  done
  body=$({ "$tool" "$n" 5>&1 >&7 7>&-; } | head -c "$BODY_BYTES" | plain)
  [ "$n" -eq "$PARAM_TRIES" ] || sleep "$PAUSE_S"
done

# --- who should have answered, and with which certificate ------------------------------------

is_here() { # one of the addresses is this host's own
  local each
  for each in $addresses; do
    case $each in 127.* | ::1) return 0 ;; esac
    timeout 2 ip -o addr show to "$each" 2>/dev/null | grep -q . && return 0
  done
  return 1
}

if is_here; then
  section listener
  listeners "$port"
fi

if [ "$scheme" = https ] && [ -n "$addresses" ]; then
  address=${addresses%%$'\n'*}
  case $address in *:*) address="[$address]" ;; esac
  certificate=$(timeout "$RESOLVE_S" openssl s_client -connect "$address:$port" -servername "$host" </dev/null 2>/dev/null |
    openssl x509 -noout -subject -issuer -enddate 2>/dev/null)
  ends=$(date -d "$(sed -n 's/^notAfter=//p' <<<"$certificate")" +%s 2>/dev/null)
  if [ -n "$certificate" ] && [ -n "$ends" ]; then
    section certificate "days=$(((ends - $(date +%s)) / 86400))"
    plain <<<"$certificate" | head -c 2000
  fi
fi

if [ -n "$body" ]; then
  section body "bytes=${#body}"
  printf '%s\n' "$body"
fi
exit 0
