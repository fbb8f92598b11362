#!/bin/sh
# edge_differences.sh A B: lines of `keel decide --json` against those of another build: how many, how many choose another
# answer, and the largest difference of a log-probability. Exit 1 unless the choices are the same and that is at most 1e-3.
set -eu
paste -d '\n' "$1" "$2" | awk '
    function part(text, key) { return match(text, "\"" key "\":[^,}]*") ? substr(text, RSTART, RLENGTH) : "" }
    { key = part($0, "conversation") part($0, "turn"); action = part($0, "action") part($0, "fallback") part($0, "unfamiliar"); n = 0
      rest = $0
      while (match(rest, /"log_pi":[^,}]*/)) { log_pi[n++] = substr(rest, RSTART + 9, RLENGTH - 9); rest = substr(rest, RSTART + RLENGTH) } }
    NR % 2 { first_key = key; first_action = action; first_n = n; for (i = 0; i < n; i++) first[i] = log_pi[i]; next }
    { decisions++
      if (key != first_key || n != first_n) { print "line " NR / 2 " is of another decision"; broken = 1; exit }
      if (action != first_action) other++
      for (i = 0; i < n; i++) {
          if ((log_pi[i] == "null") != (first[i] == "null")) { masked++; continue }
          d = log_pi[i] - first[i]; if (d < 0) d = -d; if (d > most) most = d
      } }
    END {
        if (NR % 2) { print "one has more lines"; broken = 1 }
        printf "%d decisions, %d of another choice, %d actions masked in one alone, log-probabilities differ by at most %.3g\n", decisions, other, masked, most
        exit broken || !decisions || other || masked || most > 1e-3
    }'
