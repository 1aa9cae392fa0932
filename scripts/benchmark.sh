#!/bin/sh
# Measures how many messages per second the API accepts; prints JSON lines. `benchmark.sh --help` lists the options.
set -eu
cd "$(dirname "$0")/.."
exec .venv/bin/python -m scripts.bench "$@"
