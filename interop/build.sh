#!/bin/sh
# Build the other implementations' peers. A missing toolchain is named and skipped: the tests that
# need it are then skipped with that reason. A build that fails is an error.
set -eu
cd "$(dirname "$0")"

# What an earlier run built must not stand in for a build that is skipped now.
rm -rf go/bin

if command -v npm >/dev/null; then
    (cd js && npm ci --no-audit --no-fund --loglevel=error)
    # Node itself comes with the packages: the system's may be too old.
    js/node_modules/.bin/node --version
else
    rm -rf js/node_modules
    echo "SKIPPED js-libp2p: npm is not installed"
fi

if command -v go >/dev/null; then
    (cd go && go build -trimpath -o bin/peer .)
    go version
else
    echo "SKIPPED go-libp2p: go is not installed"
fi
