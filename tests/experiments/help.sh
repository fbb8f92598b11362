#!/bin/sh
# Every flag and key that `keel VERB --help` lists is in the manual page and in the completions of bash and zsh, and what
# they print is accepted by the programs that read it.
. "$(dirname "$0")/program.sh"

"$KEEL" help --man >keel.1
"$KEEL" help --completion bash >keel.bash
"$KEEL" help --completion zsh >_keel
"$KEEL" --help | awk '/^usage:/ { getline; on = 1; next } on && NF == 0 { exit } on { print $1 }' >verbs.txt
[ "$(wc -l <verbs.txt)" -ge 12 ] || fail "keel --help lists the verbs: $(cat verbs.txt)"

# ---- the program ----
expect "the version" 0 "" --version
grep -qE "^keel [0-9]+\.[0-9]+\.[0-9]+( \([^ ]+\))?\$" out.txt || fail "name, version, commit: $(cat out.txt)"
"$KEEL" info --json --quiet >info.json
grep -qF "$(json build.keel info.json | tr -d '"')" out.txt || fail "keel info names another version"
expect "the overview" 0 "" --help
cp out.txt overview.txt
for way in "help" "-h"; do "$KEEL" $way | cmp -s - overview.txt || fail "keel $way is keel --help"; done
"$KEEL" help --json --quiet >help.json
grep -q '"help": "keel: safety' help.json || fail "the overview as JSON"
while read -r verb; do
    "$KEEL" "$verb" --help >"$verb.help" || fail "$verb --help"
    "$KEEL" help "$verb" | cmp -s - "$verb.help" || fail "keel help $verb is keel $verb --help"
    ! grep -nE '[a-z_]\.[ch]\b' "$verb.help" || fail "help of $verb points at a source file"
    head -n 1 "$SOURCE/experiments/cmd_$verb.c" | grep -q "^/\* keel $verb" ||
        fail "cmd_$verb.c opens with what the verb does"
done <verbs.txt
expect "no help of a verb that is not there" 2 "did you mean 'train'?" help trian
expect "no completion of another shell" 2 "bash, zsh" help --completion fish
expect "one thing at a time" 2 "cannot be given with" help --man --completion bash

# ---- what the outputs mean ----
expect "the outputs of all verbs" 0 "" help --outputs
cmp -s out.txt "$SOURCE/docs/outputs.md" || fail "docs/outputs.md is not what keel help --outputs prints: make it anew"
expect "no two pages at once" 2 "cannot be given with" help --outputs --man
expect "the output of eval explained, without a store" 0 "" eval --explain
cp out.txt eval.txt
for name in refusal_rate harmful_compliance_rate over_refusal_rate borderline_refusal_rate completion_rate composite_reward accuracy speed safety \
    agreement_rate preference_accuracy latency_s; do
    grep -q "^$name" eval.txt || fail "keel eval --explain lacks $name"
    grep -q "\`$name\`" "$SOURCE/docs/metrics.md" || fail "docs/metrics.md lacks $name"
done
grep -q "healthy: lower end at or above your bound" eval.txt || fail "what is healthy: $(cat eval.txt)"
expect "an output that needs no word" 0 "" info --explain
grep -q "keel info" out.txt || fail "and says so"

# ---- the manual page: once rendered, a flag and what it takes begin a line, and so does a key ----
if command -v mandoc >/dev/null; then
    mandoc -Tlint -W warning keel.1 >lint.txt || fail "mandoc complains: $(cat lint.txt)"
fi
if command -v man >/dev/null && command -v groff >/dev/null; then
    man --warnings -E UTF-8 -l keel.1 2>warnings.txt >/dev/null || fail "man reads it"
    [ ! -s warnings.txt ] || fail "man complains: $(cat warnings.txt)"
fi
sed 's/\\f[BIR]//g; s/\\-/-/g; s/\\&//g' keel.1 >plain.txt
section() { awk -v verb="$1" '/^\.S/ { in_it = $0 == ".SS keel " verb } in_it' plain.txt; }
flags_of() { awk '/^usage:/ { getline; on = 1; next } on && NF == 0 { exit } on { print $1 }' "$1.help"; }
# What all names of a flag take, and what only some do.
for algo in bc filtered-bc safe-bc dqn cql cql-constrained cql-lagrange iql ilql awac bcq; do "$KEEL" train --algo $algo --help >"train.$algo.named"; done
keys_of() {
    cat "$1".help "$1".*.named 2>/dev/null |
        awk '/^keys of --set and --config( with .*)?:/ { keys = 1; next } /^usage:/ { keys = 0 } keys && /^  [a-z0-9_]+ / { print $1 }' | sort -u
}
common=$(awk '/^\.SH COMMON FLAGS/ { on = 1; next } /^\.SH/ { on = 0 } on && /^--/ { print $1 }' plain.txt)
while read -r verb; do
    section "$verb" >section.txt
    for name in $(flags_of "$verb") $(keys_of "$verb"); do
        grep -qE "^$name( |\$)" section.txt || echo "$common" | grep -qx -e "$name" || fail "keel(1) lacks $name of $verb"
    done
done <verbs.txt
for verb in train sft label; do [ -n "$(keys_of $verb)" ] || fail "keel $verb has keys"; done
keys_of train | grep -qx expectile || fail "keys that only some learners take are among those of train"

# ---- bash ----
# completes WORDS...: what bash offers for the last of them.
completes() {
    bash -c '. ./keel.bash; COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); _keel; printf "%s\n" "${COMPREPLY[@]}"' bash "$@"
}
if command -v bash >/dev/null; then
    completes keel "" | sort >offered.txt
    { cat verbs.txt; printf '%s\n' --help --version; } | sort | cmp -s - offered.txt || fail "bash offers the verbs: $(cat offered.txt)"
    while read -r verb; do
        completes keel "$verb" -- | sort >offered.txt
        flags_of "$verb" | sort | cmp -s - offered.txt || fail "bash offers the flags of $verb: $(cat offered.txt)"
        [ -z "$(keys_of "$verb")" ] || {
            completes keel "$verb" --set "" | sort >offered.txt
            keys_of "$verb" | sed 's/$/=/' | sort | cmp -s - offered.txt || fail "bash offers the keys of $verb: $(cat offered.txt)"
        }
    done <verbs.txt
    [ "$(completes keel tra)" = train ] || fail "bash completes a verb"
    [ "$(completes keel train --algo cql-l)" = cql-lagrange ] || fail "bash completes the name of a learner"
    [ "$(completes keel train --algo = cql-l)" = cql-lagrange ] || fail "bash completes after an equals sign"
    [ "$(completes keel import --store s.db --format hh)" = hh-rlhf ] || fail "bash completes the name of a format"
    mkdir folder && : >folder.db
    [ "$(completes keel stats --store fold | sort | tr '\n' ' ')" = "folder folder.db " ] || fail "bash completes a file"
    [ "$(completes keel report --run fold)" = folder ] || fail "bash completes a folder"
    [ "$(completes keel run fold | sort | tr '\n' ' ')" = "folder folder.db " ] || fail "bash completes a recipe"
    [ "$(completes keel help repl)" = replay ] || fail "bash completes the verb after help"
    [ -z "$(completes keel stats --split "")" ] || fail "bash has no idea of the name of a split"
fi

# ---- zsh: what it hands to _arguments ----
if command -v zsh >/dev/null; then
    zsh -n _keel || fail "zsh reads its completion"
    while read -r verb; do
        zsh -fc '_arguments() { print -rl -- "$@" }; words=(keel $1 --); CURRENT=3; source ./_keel' zsh "$verb" >specs.txt
        for flag in $(flags_of "$verb"); do
            grep -qE -e "^\*?$flag(=|\[)" specs.txt || fail "zsh lacks $flag of $verb"
        done
        for key in $(keys_of "$verb"); do
            grep -e '--set=' specs.txt | grep -q " $key[ }]" || fail "zsh lacks the key $key of $verb"
        done
    done <verbs.txt
fi

# ---- installed, with names that man and both shells find ----
same() { zcat -f "$2" | cmp "$1" - || fail "installed: $2"; }
case ${SANITIZE:-} in
*thread*) ;; # the program does not start everywhere, so the build does not run it
*)
    prefix=${INSTALLED:-}
    if [ -z "$prefix" ]; then
        prefix=$work/prefix
        cmake --install "$BUILD" --prefix "$prefix" >/dev/null
    fi
    same keel.1 "$prefix"/share/man/man1/keel.1*
    same keel.bash "$prefix/share/bash-completion/completions/keel"
    same _keel "$prefix"/share/zsh/*/_keel
    ;;
esac
finish
