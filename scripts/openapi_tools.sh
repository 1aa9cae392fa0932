#!/bin/sh
# Installs into .tools what tests/clients needs: checkers of OpenAPI documents, generators of clients, newman. Each version is
# pinned (here, and in tests/clients); what is there already in that version is kept, also between checkouts
# (scripts/tools_folder.sh).
set -eu
cd "$(dirname "$0")/.."
pinned="$PWD/tests/clients"
tools="$(sh scripts/tools_folder.sh)/clients"
mkdir -p "$tools"
missing=""

if command -v npm >/dev/null; then
    if ! cmp -s "$pinned/package-lock.json" "$tools/node/installed"; then
        mkdir -p "$tools/node"
        cp "$pinned/package.json" "$pinned/package-lock.json" "$tools/node"
        (cd "$tools/node" && npm ci --prefer-offline --ignore-scripts --no-audit --no-fund --loglevel error)
        cp "$pinned/package-lock.json" "$tools/node/installed"
    fi
else
    missing="$missing Node.js"
fi

if command -v go >/dev/null; then
    oapi_codegen=github.com/oapi-codegen/oapi-codegen/v2/cmd/oapi-codegen@v2.8.2
    if [ "$(cat "$tools/go-installed" 2>/dev/null)" != "$oapi_codegen" ]; then
        GOBIN="$tools/bin" go install "$oapi_codegen"
        echo "$oapi_codegen" >"$tools/go-installed"
    fi
    (cd "$pinned/go" && go mod download)
else
    missing="$missing Go"
fi

if ! cmp -s "$pinned/requirements.txt" "$tools/python/installed"; then
    sh scripts/make_venv.sh "$tools/python" "$pinned/requirements.txt"
    cp "$pinned/requirements.txt" "$tools/python/installed"
fi

[ -z "$missing" ] || { echo "openapi_tools: missing:$missing; some generated clients are not tested." >&2; exit 1; }
