#!/usr/bin/env bash
# A real Kafka broker (KRaft, one node) on the loopback interface, for tests and measurements.
#
#     broker.sh fetch                resolves the jars with Maven, once: into ~/.m2 and the class path file
#     broker.sh run DIRECTORY PORT   becomes the broker: data and log in DIRECTORY, controller on PORT + 1; data that is
#                                    there is kept, so a killed broker can be run again
#
# Needs a JRE of version 17 or later, and Maven for the first time. Environment: KAFKA_CLASS_PATH (the class path file,
# ~/.cache/dstream/kafka-class-path), KAFKA_HEAP (384m), KAFKA_EXTRA (more lines of server.properties), MVN_FLAGS.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
class_path=${KAFKA_CLASS_PATH:-${HOME:-/nonexistent}/.cache/dstream/kafka-class-path}
wanted=$(sha256sum "$here/broker.pom.xml" | cut -c 1-16)

fetched() { [ -s "$class_path" ] && [ "$(cat "$class_path.for" 2>/dev/null)" = "$wanted" ] && [ -e "$(cut -d : -f 1 "$class_path")" ]; }

fetch() {
  fetched && return 0
  # A home that is missing or not writable is no reason to fail.
  if ! { mkdir -p "$(dirname "$class_path")" && [ -w "$(dirname "$class_path")" ]; } 2>/dev/null; then
    local instead
    instead=${TMPDIR:-/tmp}/dstream-$(id -u)
    class_path=$instead/kafka-class-path
    MVN_FLAGS="${MVN_FLAGS:-} -Dmaven.repo.local=$instead/m2"
    mkdir -p "$instead"
    fetched && return 0
  fi
  exec 9>"$class_path.lock"
  flock 9
  fetched && return 0
  local attempt
  for attempt in 1 2 3; do # a registry that is down for a moment is no reason to give up
    # shellcheck disable=SC2086 # MVN_FLAGS is a list
    if mvn -q -B ${MVN_FLAGS:-} -f "$here/broker.pom.xml" dependency:build-classpath \
      -Dmdep.outputFile="$class_path.new" >"$class_path.log" 2>&1; then
      mv "$class_path.new" "$class_path"
      echo "$wanted" >"$class_path.for"
      return 0
    fi
    echo "broker.sh: attempt $attempt to fetch Kafka's jars failed" >&2
  done
  tail -n 20 "$class_path.log" >&2
  return 1
}

run() {
  local directory=$1 port=$2 id
  fetch
  mkdir -p "$directory"
  cat >"$directory/log4j2.properties" <<'TEXT'
rootLogger.level = warn
rootLogger.appenderRef.c.ref = C
appender.c.type = Console
appender.c.name = C
appender.c.layout.type = PatternLayout
appender.c.layout.pattern = %d %p %c{1} %m%n
TEXT
  cat >"$directory/server.properties" <<TEXT
process.roles=broker,controller
node.id=1
controller.quorum.voters=1@127.0.0.1:$((port + 1))
listeners=PLAINTEXT://127.0.0.1:$port,CONTROLLER://127.0.0.1:$((port + 1))
advertised.listeners=PLAINTEXT://127.0.0.1:$port
controller.listener.names=CONTROLLER
listener.security.protocol.map=PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT
inter.broker.listener.name=PLAINTEXT
log.dirs=$directory/data
num.partitions=1
offsets.topic.num.partitions=4
offsets.topic.replication.factor=1
transaction.state.log.num.partitions=4
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
share.coordinator.state.topic.replication.factor=1
share.coordinator.state.topic.min.isr=1
group.initial.rebalance.delay.ms=0
auto.create.topics.enable=false
controlled.shutdown.enable=false
log.cleaner.backoff.ms=200
log.retention.check.interval.ms=500
${KAFKA_EXTRA:-}
TEXT
  local java=(java "-Dlog4j2.configurationFile=$directory/log4j2.properties" -XX:+UseSerialGC -XX:TieredStopAtLevel=1
    -Xshare:auto -Djava.net.preferIPv4Stack=true)
  [ -n "${KAFKA_FAST:-}" ] && java=(java "-Dlog4j2.configurationFile=$directory/log4j2.properties")
  if [ ! -f "$directory/data/meta.properties" ]; then
    id=$(head -c 16 /dev/urandom | base64 | tr '+/' 'AB' | tr -d '=') # one that begins with '-' reads as an option
    "${java[@]}" -Xmx256m -cp "$(cat "$class_path")" kafka.tools.StorageTool format -t "$id" \
      -c "$directory/server.properties" >"$directory/format.log" 2>&1 || {
      cat "$directory/format.log" >&2
      return 1
    }
  fi
  exec "${java[@]}" "-Xmx${KAFKA_HEAP:-384m}" -cp "$(cat "$class_path")" kafka.Kafka \
    "$directory/server.properties" >>"$directory/broker.log" 2>&1
}

case "${1:-} $#" in
  "fetch 1") fetch ;;
  "run 3") run "$2" "$3" ;;
  *)
    sed -n '2,9s/^# \{0,1\}//p' "${BASH_SOURCE[0]}" >&2
    exit 2
    ;;
esac
