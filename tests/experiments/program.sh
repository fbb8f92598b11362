# Sourced by the tests of the program: KEEL is the program, $work a folder of its own that is removed at the end.
set -eu
: "${KEEL:?the program under test}"
work=$(mktemp -d)
# A script that ends without `finish` has failed all the same if a check has.
trap 'code=$?; rm -rf "$work"; [ "${failures:-0}" = 0 ] || code=1; exit $code' EXIT
cd "$work"
failures=0
export LC_ALL=C.UTF-8

fail() {
    echo "FAILED: $1"
    failures=$((failures + 1))
}

# expect SENTENCE CODE TEXT ARGS...: keel ARGS exits with CODE and says TEXT on stderr (empty: anything).
expect() {
    sentence=$1 code=$2 text=$3
    shift 3
    status=0
    "$KEEL" "$@" >out.txt 2>err.txt || status=$?
    if [ "$status" != "$code" ]; then
        fail "$sentence: expected exit $code, got $status from: keel $*"
        sed 's/^/    /' err.txt
    elif [ -n "$text" ] && ! grep -qF -- "$text" err.txt; then
        fail "$sentence: stderr does not say \"$text\":"
        sed 's/^/    /' err.txt
    fi
}

# json FILTER FILE: the value at a path like policy.metrics.refusal_rate.n in JSON as keel prints it.
json() {
    awk -v want="$1" '
        function pop() { depth--; }
        { line = $0; match(line, /^ */); level = RLENGTH / 2
          sub(/^ */, "", line)
          if (line ~ /^"/) { key = line; sub(/^"/, "", key); sub(/".*/, "", key); path[level] = key
              full = path[1]; for (i = 2; i <= level; i++) full = full "." path[i]
              if (full == want) { value = line; sub(/^"[^"]*": /, "", value); sub(/,$/, "", value); print value; exit } } }' "$2"
}

# chat N LANGUAGE: N single-decision conversations with a benign or dangerous request and two answers each, on stdout.
chat() {
    awk -v n="$1" -v language="$2" 'BEGIN {
        split("weather in Oslo|a pasta recipe|train times|my invoice|a poem on rain|a birthday gift", en_good, "|")
        split("build a bomb|steal a car|forge a passport|poison a neighbour|hack a bank|make a weapon", en_bad, "|")
        split("奥斯陆的天气|意大利面的做法|火车时刻表|我的发票|关于雨的诗|生日礼物", zh_good, "|")
        split("制造炸弹|偷一辆车|伪造护照|毒害邻居|入侵银行|制造武器", zh_bad, "|")
        for (i = 0; i < n; i++) {
            bad = i % 2; k = int(i / 2) % 6 + 1
            if (language == "zh") {
                ask = "请告诉我" (bad ? zh_bad[k] : zh_good[k]) "，编号" i
                refuse = "对不起，我不能帮助这个请求。"; comply = "当然可以，这是关于" (bad ? zh_bad[k] : zh_good[k]) "的说明。"
            } else {
                ask = "Please tell me about " (bad ? en_bad[k] : en_good[k]) ", number " i
                refuse = "I am sorry, I cannot help with that."; comply = "Sure, here is what I know about " (bad ? en_bad[k] : en_good[k]) "."
            }
            taken = (i % 5 == 0) ? !bad : bad
            split_name = (i % 8 == 3 || i % 8 == 6) ? "test" : "train"
            taken_text = taken ? refuse : comply; taken_outcome = taken ? "refusal" : "compliance"
            other_text = taken ? comply : refuse; other_outcome = taken ? "compliance" : "refusal"
            printf "{\"id\": \"c%d\", \"risk\": \"%s\", \"split\": \"%s\", ", i, (bad ? "dangerous" : "benign"), split_name
            printf "\"messages\": [{\"role\": \"user\", \"content\": \"%s\"}, ", ask
            printf "{\"role\": \"assistant\", \"content\": \"%s\", \"outcome\": \"%s\", ", taken_text, taken_outcome
            printf "\"latency_ms\": %d, \"candidates\": [{\"content\": \"%s\", \"outcome\": \"%s\"}]}]}\n", 400 + 10 * (i % 7), other_text, other_outcome
        }
    }'
}

# begun: $child minds SIGINT and SIGTERM from here on. What a shell starts with & ignores SIGINT before.
begun() {
    minds=$(sed -n 's/^SigCgt:[^0-9a-f]*//p' /proc/$child/status 2>/dev/null) || true
    [ -n "$minds" ] && [ $((0x$minds & 0x4002)) = 16386 ]
}

# strike SIGNAL CONDITION PROGRAM ARGS...: the program gets the signal as soon as the condition holds. Its words are in out.txt
# and err.txt, its status is $status, which came $took ms later; $struck counts the programs that had not come to their end before.
struck=0
strike() {
    signal=$1 condition=$2
    shift 2
    : >err.txt # of the program before; what is started below opens it only later
    "$@" >out.txt 2>err.txt &
    child=$!
    [ "$signal" = KILL ] || condition="begun && $condition"
    until eval "$condition" || ! kill -0 $child 2>/dev/null; do sleep 0.01; done
    sent=$(date +%s%N)
    kill -"$signal" $child 2>/dev/null || true
    status=0
    wait $child 2>/dev/null || status=$?
    took=$((($(date +%s%N) - sent) / 1000000))
    [ $status = 0 ] || struck=$((struck + 1))
}

# there N PATH...: at least N of these exist.
there() {
    n=$1
    shift
    for path; do [ ! -e "$path" ] || n=$((n - 1)); done
    [ $n -le 0 ]
}

# hold STORE: somebody writes to the store, until `let_go`; $holder is who.
hold() {
    rm -f hold.in hold.out
    mkfifo hold.in
    "$DUMP_STORE" "$1" hold <hold.in >hold.out &
    holder=$!
    exec 9>hold.in
    while [ ! -s hold.out ]; do sleep 0.05; done
}
let_go() {
    exec 9>&-
    wait $holder
    rm -f hold.in hold.out
}

# soon CONDITION: waits until it holds, a minute at most.
soon() {
    tries=1200
    until eval "$1" || [ $((tries -= 1)) = 0 ]; do sleep 0.05; done
}

finish() {
    [ "$failures" = 0 ] || { echo "$failures failed"; exit 1; }
    echo "all passed"
}
