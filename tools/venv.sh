#!/bin/sh
# Make or complete the virtual environment that `make` uses.
#
#   tools/venv.sh run    what a peer needs          (requirements/run.lock)
#   tools/venv.sh dev    and the tools for tests    (requirements/dev.lock)
#
# Set PYTHON and VENV to choose the interpreter and the folder. Plain sh, so that it can say what is
# missing before Python would fail over it. Needs no root and no compiler.
set -eu
cd "$(dirname "$0")/.."

lock=${1:?"usage: tools/venv.sh run|dev"}
PYTHON=${PYTHON:-python3}
VENV=${VENV:-.venv}

fail() {
    printf '\nfogp2p: %s\n    %s\n\n' "$1" "$2" >&2
    exit 1
}

command -v "$PYTHON" >/dev/null 2>&1 ||
    fail "$PYTHON is not installed. On Debian or Ubuntu type:" "sudo apt install python3 python3-venv"
version=$("$PYTHON" -c 'import sys; print("%d.%d" % sys.version_info[:2])')
case $version in
    3.11 | 3.12 | 3.13) ;;
    *) fail "$PYTHON is Python $version, and 3.11, 3.12 or 3.13 is needed. If you have one, type:" \
        "make PYTHON=python3.13 ..." ;;
esac
if ! "$PYTHON" -c 'import venv, ensurepip' 2>/dev/null; then
    case $PYTHON in
        *3.1[123]) package=python$version-venv ;;
        *) package=python3-venv ;;
    esac
    fail "$PYTHON cannot make virtual environments. On Debian or Ubuntu type:" \
        "sudo apt install $package"
fi

# An environment of another Python, or half made, is made anew; a good one is kept.
have=$("$VENV/bin/python" -c 'import sys; print("%d.%d" % sys.version_info[:2])' 2>/dev/null || true)
if [ "$have" != "$version" ]; then
    echo "making $VENV with Python $version"
    "$PYTHON" -m venv --clear "$VENV"
elif ! "$VENV/bin/python" -c 'import pip' 2>/dev/null; then
    "$PYTHON" -m venv "$VENV"
fi

install() {
    "$VENV/bin/python" -m pip install --quiet --disable-pip-version-check --no-deps "$@"
}
# Only what the locks name and hash is installed, and only as wheels; the two packages of pure Python
# that are published as source alone are built by the setuptools of the first line.
echo "installing requirements/$lock.lock into $VENV"
install --require-hashes --only-binary :all: -r requirements/build.lock
install --require-hashes --only-binary :all: --no-binary python-baseconv,varint \
    --use-pep517 --no-build-isolation -r "requirements/$lock.lock"
install --no-index --no-build-isolation -e .

# trio-typing (libp2p needs it) installs stubs of trio 0.16 and its friends. Type checkers prefer
# them to the types inside trio itself, and then miss half of its names. Only *-stubs folders go.
for stubs in trio-stubs outcome-stubs async_generator-stubs; do
    rm -rf "$VENV"/lib/python"$version"/site-packages/"$stubs"
done
