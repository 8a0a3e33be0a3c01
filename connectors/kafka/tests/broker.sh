#!/usr/bin/env bash
# A real Kafka broker (KRaft, one node) on the loopback interface, for tests and measurements.
#
#     broker.sh fetch                resolves the jars with Maven, once: into ~/.m2 and the class path file
#     broker.sh run DIRECTORY PORT   becomes the broker: data and log in DIRECTORY, controller on PORT + 1; data that is
#                                    there is kept, so a killed broker can be run again. With KAFKA_SECRET, a password,
#                                    it listens with SASL on PORT + 2, with SASL and TLS on PORT + 3, too
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

# Two listeners more, for the user "reader" with the password KAFKA_SECRET: SASL_PLAINTEXT on PORT + 2, SASL_SSL on
# PORT + 3. Its certificate is in DIRECTORY/ca.pem.
secure() {
  local directory=$1 port=$2 at=127.0.0.1 store
  store=(-keystore "$directory/broker.p12" -storetype PKCS12 -storepass "$KAFKA_SECRET" -alias broker)
  if [ ! -f "$directory/ca.pem" ]; then
    keytool -genkeypair "${store[@]}" -keyalg EC -validity 30 -dname "CN=$at" -ext "san=ip:$at" \
      >"$directory/keytool.log" 2>&1
    keytool -exportcert -rfc "${store[@]}" >"$directory/ca.new" 2>>"$directory/keytool.log"
    mv "$directory/ca.new" "$directory/ca.pem"
  fi
  sed -i -E "s|^(advertised\\.)?listeners=.*|&,SASL_PLAINTEXT://$at:$((port + 2)),SASL_SSL://$at:$((port + 3))|
    s|^listener.security.protocol.map=.*|&,SASL_PLAINTEXT:SASL_PLAINTEXT,SASL_SSL:SASL_SSL|" "$directory/server.properties"
  local module="org.apache.kafka.common.security.plain.PlainLoginModule required user_reader=\"$KAFKA_SECRET\";"
  cat >>"$directory/server.properties" <<TEXT
sasl.enabled.mechanisms=PLAIN
listener.name.sasl_plaintext.plain.sasl.jaas.config=$module
listener.name.sasl_ssl.plain.sasl.jaas.config=$module
ssl.keystore.location=$directory/broker.p12
ssl.keystore.type=PKCS12
ssl.keystore.password=$KAFKA_SECRET
ssl.key.password=$KAFKA_SECRET
TEXT
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
  [ -n "${KAFKA_SECRET:-}" ] && secure "$directory" "$port"
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
    sed -n '2,10s/^# \{0,1\}//p' "${BASH_SOURCE[0]}" >&2
    exit 2
    ;;
esac
