#!/bin/sh
# How many messages a second the API accepts: JSON lines. `benchmark.sh --help` lists the options.
set -eu
cd "$(dirname "$0")/.."
exec .venv/bin/python -m scripts.bench "$@"
