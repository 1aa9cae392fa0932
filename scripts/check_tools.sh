#!/bin/sh
# Builds the checkers of manifests and workflows that are Go programs into .tools/bin, unless they are on the PATH.
set -eu
cd "$(dirname "$0")/.."
command -v go >/dev/null || { echo "check_tools: Go is missing; manifests and workflows are checked less." >&2; exit 1; }
export GOBIN="$PWD/.tools/bin"
mkdir -p "$GOBIN"
[ -x "$GOBIN/actionlint" ] || command -v actionlint >/dev/null ||
    go install github.com/rhysd/actionlint/cmd/actionlint@v1.7.7
if ! [ -x "$GOBIN/compose-go" ]; then
    # The library that `docker compose` reads its file with; its command is called "cmd".
    go install github.com/compose-spec/compose-go/v2/cmd@v2.16.2
    mv "$GOBIN/cmd" "$GOBIN/compose-go"
fi
# The version that docker-compose.yml runs.
[ -x "$GOBIN/node_exporter" ] || command -v node_exporter >/dev/null ||
    go install github.com/prometheus/node_exporter@v1.9.1
[ -x "$GOBIN/kustomize" ] || command -v kubectl >/dev/null || command -v kustomize >/dev/null ||
    go install sigs.k8s.io/kustomize/kustomize/v5@v5.5.0
# The slowest last: the first that cannot be built ends this script.
if ! [ -x "$GOBIN/docker-compose-v2" ] && ! docker compose version >/dev/null 2>&1; then
    # `docker compose` itself, without docker. Its go.mod has exclude directives, so `go install` refuses it: by a module of our own.
    module=$(mktemp -d)
    trap 'rm -rf "$module"' EXIT
    (
        cd "$module"
        go mod init check
        go get github.com/docker/compose/v2/cmd@v2.40.3
        go build -trimpath -ldflags "-s -w" -o "$GOBIN/docker-compose-v2" github.com/docker/compose/v2/cmd
    ) >"$module/log" 2>&1 || { cat "$module/log" >&2; exit 1; }
fi
