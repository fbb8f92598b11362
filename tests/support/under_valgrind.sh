#!/bin/sh
# A program and whatever it starts, under valgrind: any error or leak ends it with status 99 and is kept in the folder
# VALGRIND_LOGS, one file for each process; processes without errors leave empty files.
# A shell or gnuplot that Keel starts is not ours to judge.
exec valgrind -q --leak-check=full --errors-for-leak-kinds=definite,possible --error-exitcode=99 \
    --trace-children=yes '--trace-children-skip=*/sh,*/dash,*/gnuplot*' --log-file="$VALGRIND_LOGS/%p" "$@"
