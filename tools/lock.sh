#!/bin/sh
# Write requirements/*.lock again. Needs uv; everybody else only needs the locks.
#
# One lock serves Python 3.11-3.13 on x86_64 and aarch64 (--universal). dev.lock is made first and
# run.lock is held to its versions, so that installing one after the other changes nothing.
set -eu
cd "$(dirname "$0")/.."

command -v uv >/dev/null 2>&1 || {
    echo "tools/lock.sh: uv is missing; install it with: python3 -m pip install uv" >&2
    exit 1
}
compile() {
    uv pip compile --quiet --universal --python-version 3.11 --generate-hashes \
        --no-emit-find-links --custom-compile-command "make lock" "$@"
}

compile requirements/build.in --output-file requirements/build.lock
compile pyproject.toml --group dev --override requirements/overrides.txt \
    --constraint requirements/build.lock --output-file requirements/dev.lock
compile pyproject.toml --override requirements/overrides.txt \
    --constraint requirements/dev.lock --output-file requirements/run.lock
