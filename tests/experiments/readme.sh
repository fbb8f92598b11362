#!/bin/sh
# The README's own commands, as they stand there, on a small log, and its smallest line of a log.
. "$(dirname "$0")/program.sh"
readme=$SOURCE/README.md

[ "$(wc -c <"$readme")" -le 8192 ] || fail "the README has at most 8 kB: $(wc -c <"$readme")"
for file in $(grep -o '](\([^)#]*\)' "$readme" | sed 's/](//'); do
    [ -e "$SOURCE/$file" ] || fail "the README links to $file, which is not there"
done
for page in "$SOURCE"/docs/*.md; do
    for file in $(grep -o '](\([^)#]*\)' "$page" | sed 's/](//' | sort -u); do
        [ -e "$SOURCE/docs/$file" ] || fail "$(basename "$page") links to $file, which is not there"
    done
done

# What the documents name is there: files of the repository, functions.
cd "$SOURCE"
rooms="core datasets rewards envs policies rl experiments tests"
for page in README.md CONTRIBUTING.md docs/*.md; do
    for file in $(grep -oE "\`($(echo $rooms | tr ' ' '|'))/[A-Za-z0-9_/.-]+\`" "$page" | tr -d '`' | grep -v NAME | sort -u); do
        [ -e "$file" ] || fail "$page names $file, which is not there"
    done
    for name in $(grep -oE '`keel_[a-zA-Z_]*[a-zA-Z]`' "$page" | tr -d '`' | grep -v NAME | sort -u); do
        # shellcheck disable=SC2086 # one word per folder
        grep -rqw --include='*.[ch]' "$name" $rooms || fail "$page names $name, which is not there"
    done
done

# The version, wherever it stands.
version=$(sed -n 's/^project(keel VERSION \([0-9.]*\) .*/\1/p' CMakeLists.txt) released=$(sed -n 's/^set(KEEL_RELEASED \([0-9-]*\)).*/\1/p' CMakeLists.txt)
[ -n "$version" ] && [ -n "$released" ] || fail "CMakeLists.txt has a version and its day: $version, $released"
[ "$(sed -n 's/^## \([0-9]\)/\1/p' CHANGELOG.md | head -n 1)" = "$version ($released)" ] || fail "CHANGELOG.md begins with $version ($released)"
grep -qx "version: $version" CITATION.cff && grep -qx "date-released: $released" CITATION.cff || fail "CITATION.cff has $version, $released"
head -n 1 debian/changelog | grep -qF "keel ($version)" || fail "debian/changelog begins with $version: $(head -n 1 debian/changelog)"
[ -e "debian/libkeel${version%.*}.symbols" ] && grep -qx "Package: libkeel${version%.*}" debian/control || fail "the package of the library is named after ${version%.*}"
# Words of several words that the table of terms says are not used.
awk -F'|' '/^## /{ on = $0 == "## Words" } on && NF == 6 { print $5 }' docs/design.md | tr ',;' '\n\n' | sed 's/(.*)//; s/^ *//; s/ *$//' | grep ' ' >"$work/not.txt"
[ "$(wc -l <"$work/not.txt")" -ge 8 ] || fail "the table of terms has words that are not used: $(cat "$work/not.txt")"
"$KEEL" help --man >"$work/manual"
for page in README.md CONTRIBUTING.md docs/*.md "$work/manual"; do
    awk '/^## /{ on = $0 == "## Words" } !on' "$page" | grep -niwF -f "$work/not.txt" >"$work/found.txt" && fail "$page has other words than the table of terms: $(cat "$work/found.txt")"
done
cd "$work"

# block KIND TEXT: the fenced block of that kind that holds TEXT.
block() { awk -v kind="$1" -v text="$2" '$0 == "```" kind && !on { on = 1; body = ""; next } on && /^```$/ { if (index(body, text)) printf "%s", body; on = 0; next } on { body = body $0 "\n" }' "$readme"; }
block json '"messages"' >smallest.jsonl
[ "$(wc -l <smallest.jsonl)" = 1 ] || fail "the smallest log is one line: $(cat smallest.jsonl)"
expect "the smallest log" 0 "" import --store smallest.db --format chat smallest.jsonl --quiet
expect "and what is missing" 0 "" stats --store smallest.db --quiet

chat 120 en >conversations.jsonl
gzip conversations.jsonl
printf '{"messages": [{"role": "user", "content": "Where is it?"}, {"role": "assistant", "content": null, "candidates": ["Here.", "Sorry."]}]}\n' >waiting.jsonl
block sh 'keel import' | sed 's/#.*//' >commands.sh
[ "$(grep -c '^keel' commands.sh)" -ge 7 ] || fail "the README's session: $(cat commands.sh)"
while read -r line; do
    status=0
    eval "\"\$KEEL\" ${line#keel } --quiet" >out.txt 2>err.txt || status=$?
    case $line in *--gate*) [ $status != 3 ] || status=0 ;; esac
    [ $status = 0 ] || fail "$line: exit $status: $(cat err.txt)"
done <commands.sh
[ -f runs/policy/model.safetensors ] || fail "a policy is learned"

# What the first two commands are.
for script in $(block sh quickstart | sed 's/ .*//'); do [ -x "$SOURCE/$script" ] || fail "$script can be run"; done
finish
