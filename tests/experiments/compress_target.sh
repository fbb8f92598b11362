#!/bin/sh
# keel compress: what is written is timed and compared with what it was; --target searches, goes on after a kill, writes the
# point that changes the fewest decisions, and writes nothing where none meets it.
. "$(dirname "$0")/program.sh"

chat 60 en >log.jsonl
"$KEEL" import --store s.db --format chat log.jsonl --quiet >/dev/null
tiny="--set layers=2 --set hidden=32 --set heads=4 --set kv_heads=2 --set inner=64 --set vocabulary=400 --set state_tokens=64"
"$KEEL" sft --store s.db --base decoder --mode full $tiny --set epochs=1 --set batch=8 --set learning_rate=0.01 --out base --quiet >/dev/null
aim="compress --store s.db --base base --set decisions=5 --set importance=weight --quiet"

# ---- measured ----
expect "as it was" 0 "" compress --store s.db --base base --out same --weights none --set decisions=5 --quiet --json
[ "$(json metrics.changed.value out.txt)" = 0 ] || fail "what is not changed changes nothing: $(cat out.txt)"
[ "$(json metrics.loss.value out.txt)" = 0 ] || fail "and loses nothing"
[ "$(json metrics.decisions_measured out.txt)" = 5 ] || fail "as many decisions as asked for"
awk -v ms="$(json metrics.latency_ms out.txt)" 'BEGIN { exit !(ms > 0) }' || fail "they take time"
expect "not measured" 0 "" compress --store s.db --base base --out same --weights none --set decisions=0 --quiet --json --replace
grep -q latency out.txt && fail "nothing is timed when nothing is asked for"
expect "no such split" 1 "nowhere" $aim --out x --held-out nowhere

# ---- layers that keep 8 bits ----
expect "4 bits" 0 "" compress --base base --out four --weights q4_g32 --quiet --json
four=$(json metrics.bytes out.txt)
expect "seven tenths of two layers at 8" 0 "" compress --store s.db --base base --out half --weights q4_g32 --set sensitive_share=0.7 --set decisions=0 --quiet --json
[ "$(json metrics.layers_at_8_bits out.txt)" = 1 ] && [ "$(json metrics.bytes out.txt)" -gt "$four" ] || fail "the nearest is one of two layers: $(cat out.txt)"
[ "$(grep -ao 'layers\.[01]\.mlp\.up_proj\.weight\.int8' half/model.safetensors | wc -l)" = 1 ] || fail "its matrices are int8"
expect "which needs a log" 2 "" compress --base base --out x --weights q4_g32 --set sensitive_share=0.5 --quiet

# ---- a target ----
expect "what it may be" 2 "expected latency_ms=N or bytes=N" $aim --target speed=3 --out x
expect "above 0" 2 "above 0" $aim --target bytes=0 --out x
expect "needs a log" 2 "needs --store" compress --base base --target bytes=1000 --out x
strike KILL 'there 3 shaken.search/trials/*' "$KEEL" $aim --target bytes=224000 --max-loss 1 --trials 5 --out shaken
[ $struck -gt 0 ] || fail "it was stopped at least once"
[ ! -e shaken ] || "$KEEL" verify --base shaken --quiet >/dev/null || fail "what is there is whole"
expect "goes on" 0 "" $aim --target bytes=224000 --max-loss 1 --trials 5 --out shaken
grep -q chosen out.txt || fail "it says what it chose: $(cat out.txt)"
[ "$(grep -c '^int8 \|^q4_g32 ' out.txt)" -ge 5 ] || fail "a row for each trial: $(cat out.txt)"
expect "again" 0 "" $aim --target bytes=224000 --max-loss 1 --trials 5 --out shaken --json
[ "$(json metrics.bytes out.txt | cut -d. -f1)" -le 224000 ] || fail "it meets its target: $(cat out.txt)"
awk '/"chosen"/ { inside = 1 } inside && /ratio/ { gsub(/[^0-9.]/, ""); print; exit }' out.txt >ratio.txt
[ "$(json lineage.compression.ratio shaken/keel.json)" = "$(cat ratio.txt)" ] || fail "its lineage says what was chosen"
"$KEEL" train --store s.db --base base --algo cql --out policy --quiet --set steps=10 --set hidden=8 --set batch=16 >/dev/null
expect "with a policy" 0 "" $aim --policy policy --set ratio=0 --set sensitive_share=0 --target bytes=300000 --max-loss 1 --trials 2 --out both
[ "$("$DUMP_STORE" s.db "SELECT count(DISTINCT base_hash) FROM features")" = 2 ] || fail "the log keeps features of the base and of what was chosen"
expect "a ratio that cannot be" 0 "" $aim --weights int8 --set sensitive_share=0 --target bytes=300000 --max-loss 1 --trials 6 --out left
grep -q '^0\.1 .* - ' out.txt || fail "is a point without figures: $(cat out.txt)"
expect "none meets it" 3 "none of the points tried meets it" $aim --target bytes=10 --trials 2 --out x
[ ! -e x ] || fail "then nothing is written"
grep -q front out.txt || fail "what was tried is shown: $(cat out.txt)"
finish
