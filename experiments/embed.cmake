# Writes a C file that holds the bytes of a file, ended by a 0 (experiments/html.h declares them):
#   cmake -DIN=page.css -DNAME=page_css -DOUT=page_css.c -P embed.cmake
file(READ ${IN} hex HEX)
string(REGEX REPLACE "([0-9a-f][0-9a-f])" "0x\\1," bytes "${hex}")
file(WRITE ${OUT} "#include \"experiments/html.h\"\n\nconst unsigned char keel_embedded_${NAME}[] = {${bytes}0};\n")
