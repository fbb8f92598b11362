#!/bin/sh
# arm64.sh FOLDER: unpacks into FOLDER what keel-decide is built with for arm64, out of Debian's packages: headers and
# archives. Nothing is installed, and the system's own list of packages stays as it is. About five seconds and 16 MB.
set -eu
packages="libcjson-dev libpcre2-dev libutf8proc-dev libzstd-dev zlib1g-dev"
mkdir -p "$1"
cd "$1"
if [ ! -e usr/lib/aarch64-linux-gnu/libzstd.a ]; then
    mkdir -p lists/partial cache/archives/partial
    apt() {
        apt-get -qq -o APT::Architecture=arm64 -o APT::Architectures=arm64 -o Acquire::Languages=none -o APT::Sandbox::User=root \
            -o Dir::State::Lists="$PWD/lists" -o Dir::Cache="$PWD/cache" "$@"
    }
    apt update
    # shellcheck disable=SC2086 # one word per package
    apt download $packages
    for package in *.deb; do dpkg -x "$package" .; done
    rm -rf lists cache ./*.deb
fi
