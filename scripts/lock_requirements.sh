#!/bin/sh
# lock_requirements.sh [OPTIONS]: compiles each requirements*.in into its .txt, which pins every package with hashes for
# Python 3.11 and newer. Pins in the .txt files stay as they are if they still fit. Options go to `uv pip compile`, such as
# --upgrade or --upgrade-package NAME.
set -eu
cd "$(dirname "$0")/.."

lock() {
    folder=$1 name=$2
    shift 2
    (cd "$folder" && "$uv" pip compile --quiet --universal --generate-hashes --python-version 3.11 "$@" \
        "$name.in" --output-file "$name.txt")
}

uv=${UV:-"$PWD/.venv/bin/uv"}
# In this order: the later files take the versions of the earlier ones.
for name in requirements-install requirements requirements-tracing requirements-dev; do
    lock . "$name" "$@"
done
lock tests/clients requirements "$@"
