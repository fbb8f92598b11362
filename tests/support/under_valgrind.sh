#!/bin/sh
# A program and whatever it starts, under valgrind: any error or leak ends it with status 99 and is kept in the folder
# VALGRIND_LOGS, one file for each process; processes without errors leave empty files.
# valgrind.supp: what it finds that is not ours, and why. A shell, gnuplot or localedef that is started is not ours to
# judge; what setpriv starts is another user's, who may not write into the file that was opened for setpriv.
exec valgrind -q --leak-check=full --errors-for-leak-kinds=definite,possible --error-exitcode=99 \
    --suppressions="$(dirname "$0")/valgrind.supp" --trace-children=yes '--trace-children-skip=*/sh,*/dash,*/gnuplot*,*/localedef,*/setpriv' --log-file="$VALGRIND_LOGS/%p" "$@"
