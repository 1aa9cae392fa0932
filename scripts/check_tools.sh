#!/bin/sh
# Builds the checkers of manifests and workflows that are Go programs into .tools/bin, unless they are on the PATH.
set -eu
cd "$(dirname "$0")/.."
command -v go >/dev/null || { echo "check_tools: Go is missing; manifests and workflows are checked less." >&2; exit 1; }
GOBIN="$(sh scripts/tools_folder.sh)/bin"
export GOBIN
mkdir -p "$GOBIN"

# kept NAME SOURCE: whether the program is there, built of this source. built NAME SOURCE: note that it is.
kept() { [ -x "$GOBIN/$1" ] && [ "$(cat "$GOBIN/.$1" 2>/dev/null)" = "$2" ]; }
built() { echo "$2" >"$GOBIN/.$1"; }
install() { kept "$1" "$2" || { go install "$2" && built "$1" "$2"; }; }

command -v actionlint >/dev/null || install actionlint github.com/rhysd/actionlint/cmd/actionlint@v1.7.7
compose_go=github.com/compose-spec/compose-go/v2/cmd@v2.16.2
if ! kept compose-go "$compose_go"; then
    # The library that `docker compose` reads its file with; its command is called "cmd".
    go install "$compose_go"
    mv "$GOBIN/cmd" "$GOBIN/compose-go"
    built compose-go "$compose_go"
fi
# The version that docker-compose.yml runs.
command -v node_exporter >/dev/null || install node_exporter github.com/prometheus/node_exporter@v1.9.1
command -v kubectl >/dev/null || command -v kustomize >/dev/null ||
    install kustomize sigs.k8s.io/kustomize/kustomize/v5@v5.5.0
# The longest last: what cannot be built ends this script.
compose=github.com/docker/compose/v2/cmd@v2.40.3
if ! kept docker-compose-v2 "$compose" && ! docker compose version >/dev/null 2>&1; then
    # `docker compose` itself, without docker. Its go.mod has exclude directives, so `go install` refuses it: by a module of our own.
    module=$(mktemp -d)
    trap 'rm -rf "$module"' EXIT
    (
        cd "$module"
        go mod init check
        go get "$compose"
        go build -trimpath -ldflags "-s -w" -o "$GOBIN/docker-compose-v2" github.com/docker/compose/v2/cmd
    ) >"$module/log" 2>&1 || { cat "$module/log" >&2; exit 1; }
    built docker-compose-v2 "$compose"
fi
