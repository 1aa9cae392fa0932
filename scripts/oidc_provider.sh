#!/bin/sh
# Installs into .tools the OpenID Connect provider that the tests of single sign-on run (tests/console/oidc). What is there
# already in the pinned version is kept.
set -eu
cd "$(dirname "$0")/.."
pinned="$PWD/tests/console/oidc"
place="$(sh scripts/tools_folder.sh)/oidc"
command -v npm >/dev/null || { echo "oidc_provider: Node.js is missing; single sign-on is not tested." >&2; exit 1; }
if ! cmp -s "$pinned/package-lock.json" "$place/installed"; then
    mkdir -p "$place"
    cp "$pinned/package.json" "$pinned/package-lock.json" "$place"
    (cd "$place" && npm ci --prefer-offline --ignore-scripts --no-audit --no-fund --loglevel error)
    cp "$pinned/package-lock.json" "$place/installed"
fi
