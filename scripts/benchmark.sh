#!/bin/sh
# benchmark.sh URL --to NUMBER: loads a running deployment. Its messages are real and cost money: see `benchmark.sh --help`.
# `make bench` measures a gateway of its own on this machine instead.
set -eu
cd "$(dirname "$0")/.."
exec .venv/bin/python -m scripts.bench_url "$@"
