#!/bin/sh
# A broker of Kafka on this machine, to try `keel consume` on: org.apache.kafka:kafka_2.13 from Maven Central, in
# KRaft mode (no ZooKeeper), on 127.0.0.1 only. Needs java, and maven for the first start.
#
#   experiments/kafka.sh start             fetches it if it is not there, starts it, waits until it answers
#   experiments/kafka.sh produce TOPIC     standard input into the topic, a message a line; makes the topic
#   experiments/kafka.sh stop              in an orderly way; what was produced stays
#   experiments/kafka.sh kill              as if the machine had failed
#   experiments/kafka.sh status            says whether it answers
#
# KEEL_KAFKA: its folder (default: runs/kafka); KEEL_KAFKA_PORT (default: 9092); KEEL_KAFKA_PARTITIONS: of topics
# that are made (default: 4).
set -eu
folder=${KEEL_KAFKA:-runs/kafka}
port=${KEEL_KAFKA_PORT:-9092}
partitions=${KEEL_KAFKA_PARTITIONS:-4}
version=3.9.1
pid=$folder/pid

fail() {
    echo "kafka.sh: $1" >&2
    exit 1
}

fetch() {
    [ -f "$folder/lib/kafka_2.13-$version.jar" ] && return
    command -v mvn >/dev/null || fail "maven is needed to fetch it: install the package maven"
    cat >"$folder/pom.xml" <<END
<project xmlns="http://maven.apache.org/POM/4.0.0">
  <modelVersion>4.0.0</modelVersion>
  <groupId>keel</groupId><artifactId>broker</artifactId><version>1</version><packaging>pom</packaging>
  <dependencies>
    <dependency><groupId>org.apache.kafka</groupId><artifactId>kafka_2.13</artifactId><version>$version</version></dependency>
    <dependency><groupId>org.slf4j</groupId><artifactId>slf4j-simple</artifactId><version>1.7.36</version></dependency>
  </dependencies>
</project>
END
    mvn -q -B -f "$folder/pom.xml" dependency:copy-dependencies -DoutputDirectory=lib -DincludeScope=runtime ||
        fail "Maven Central did not give it"
}

run() {
    java -Xmx384m -Dorg.slf4j.simpleLogger.defaultLogLevel=warn -cp "$folder/lib/*" "$@"
}

format() {
    [ -f "$folder/data/meta.properties" ] && return
    cat >"$folder/server.properties" <<END
process.roles=broker,controller
node.id=1
controller.quorum.voters=1@127.0.0.1:$((port + 1))
listeners=PLAINTEXT://127.0.0.1:$port,CONTROLLER://127.0.0.1:$((port + 1))
advertised.listeners=PLAINTEXT://127.0.0.1:$port
controller.listener.names=CONTROLLER
log.dirs=$folder/data
num.partitions=$partitions
offsets.topic.replication.factor=1
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
auto.create.topics.enable=true
END
    run kafka.tools.StorageTool random-uuid >"$folder/cluster"
    run kafka.tools.StorageTool format -t "$(cat "$folder/cluster")" -c "$folder/server.properties" >>"$folder/log" 2>&1 ||
        fail "its folder could not be made: see $folder/log"
}

running() {
    [ -f "$pid" ] && kill -0 "$(cat "$pid")" 2>/dev/null
}

answers() {
    (exec 3<>"/dev/tcp/127.0.0.1/$port") 2>/dev/null || bash -c "exec 3<>/dev/tcp/127.0.0.1/$port" 2>/dev/null
}

start() {
    mkdir -p "$folder"
    folder=$(cd "$folder" && pwd)
    pid=$folder/pid
    running && return
    fetch
    format
    nohup java -Xmx384m -Dorg.slf4j.simpleLogger.defaultLogLevel=warn -cp "$folder/lib/*" kafka.Kafka \
        "$folder/server.properties" >>"$folder/log" 2>&1 </dev/null &
    echo $! >"$pid"
    waited=0
    until answers; do
        running || fail "it did not start: see $folder/log"
        [ $((waited += 1)) -le 120 ] || fail "no answer on port $port after a minute: see $folder/log"
        sleep 0.5
    done
}

# end SIGNAL: waits until the process is gone.
end() {
    running || return 0
    kill "-$1" "$(cat "$pid")"
    while running; do sleep 0.1; done
    rm -f "$pid"
}

case ${1:-} in
start) start ;;
stop) end TERM ;;
kill) end KILL ;;
status) running && answers && echo "it answers on 127.0.0.1:$port" || fail "it does not run" ;;
produce)
    [ $# -eq 2 ] || fail "produce needs the name of a topic"
    run kafka.tools.ConsoleProducer --bootstrap-server "127.0.0.1:$port" --topic "$2" \
        --producer-property enable.idempotence=true --producer-property acks=all \
        --producer-property max.request.size=16777216 --max-memory-bytes 67108864 >/dev/null
    ;;
*) fail "expected start, produce TOPIC, stop, kill or status" ;;
esac
