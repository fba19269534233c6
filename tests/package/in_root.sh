#!/usr/bin/env bash
# What `./dev package --check` runs in a fresh root directory: installs the package in /packages, first as one who only runs
# the program, then as one who builds against the libraries, and does both.
set -euo pipefail
export DEBIAN_FRONTEND=noninteractive LC_ALL=C

apt-get update -q
apt-get install -y -q --no-install-recommends /packages/terrace_*.deb
terrace --version
if dpkg-query -W -f '${db:Status-Status} ${Package}\n' 'libboost*-dev' 2>/dev/null | grep '^installed'; then
    echo "the program brings development files along" >&2
    exit 1
fi
apt-get remove -y -q terrace

apt-get install -y -q /packages/terrace_*.deb
apt-get install -y -q --no-install-recommends g++ cmake ninja-build pkgconf
CXX=g++ /checks/package/check.sh /checks/work /usr programs cmake pkgconfig

# An example, as its reader would build it.
cd /checks/work
g++ -std=c++20 -O1 /checks/examples/hello_prefetch.cpp $(pkg-config --cflags --libs terrace_adapter_memory terrace_adapter_file) \
    -o hello_prefetch
./hello_prefetch
