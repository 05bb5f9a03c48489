#!/usr/bin/env bash
# A Java Flight Recording of some seconds, where one is asked for.
set -u

MORE_S=20 # for the JVM to start and to write it
RECORDING_MB=250

[ "$PARAM_JFR" -gt 0 ] || {
  section unasked
  echo "No recording was asked for: jfr=30 makes one of 30 s"
  exit 0
}
choose Java '^java$' /libjvm.so '^(jcmd|jstack|jmap|jps|jstat|jinfo|jfr|javac)$'
prepare jcmd
because=$(no_file)
[ -n "$because" ] || because=$(no_room $((RECORDING_MB * 1000000)))
if [ -n "$because" ]; then
  section unrecorded
  echo "No recording: $because"
  exit 0
fi
its_folder
name=capturebot-$$

finish() { # a stop ends it, and what it has so far is kept
  trap - EXIT
  trap '' INT TERM # jcmd takes a moment, and what it asks for must reach the JVM
  said=$(use "${tools[0]}" "$pid" JFR.stop "name=$name" "filename=$folder/recording.jfr")
  if take recording.jfr FLR; then
    section recorded "bytes=$(stat -c %s -- "$CAPTURE_SCRATCH/recording.jfr")" "seconds=$SECONDS"
  else
    section unrecorded
    echo "No recording: $(sed 1d <<<"$said" | grep -m 1 '[a-z]' | word)"
  fi
  exit 0
}

# From here on: the JVM may have begun before jcmd has said so.
trap finish EXIT
trap 'exit 130' INT TERM
said=$(use "${tools[0]}" "$pid" JFR.start "name=$name" settings=profile "maxsize=${RECORDING_MB}m" "duration=$((PARAM_JFR + MORE_S))s")
case $said in
  *Started*) ;;
  *)
    trap - EXIT
    section unrecorded
    echo "No recording: $(sed 1d <<<"$said" | grep -m 1 '[a-z]' | word)"
    exit 0
    ;;
esac
sleep "$PARAM_JFR"
finish
exit 0
