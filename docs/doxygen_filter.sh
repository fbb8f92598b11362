#!/bin/sh
# Comments of a header as doxygen reads them: one at the start of a line documents what follows, one behind a declaration
# what stands before it. What doxygen would take for commands, tags or list marks stays text.
exec sed -E -e 's/[@\\]/\\&/g' -e '/^ *(\*|\/\*)/s/</\\</g' -e 's/ \.\.( |$)/ \\.\\.\1/g' -e '1s|^/\* |/** \\file\n |' \
    -e 's|^( *)/\* |\1/** |' -e 's|([;,{)])( +)/\* |\1\2/**< |' "$1"
