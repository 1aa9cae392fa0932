#!/bin/sh
# make_venv.sh FOLDER [REQUIREMENTS]: creates a virtual environment with the pinned requirements, from Python 3.11 or newer.
set -eu

python=""
for candidate in ${PYTHON:-} python3.11 python3.12 python3.13 python3.14 python3 python; do
    if "$candidate" -c 'import sys; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1; then
        python=$candidate
        break
    fi
done
if [ -z "$python" ]; then
    echo "build: no Python 3.11 or newer is on the PATH. Install one, or name it: make build PYTHON=/path/to/python3.11" >&2
    exit 1
fi
if ! "$1/bin/python" -m pip --version >/dev/null 2>&1; then
    if ! "$python" -m venv --clear "$1" >&2; then
        echo "build: $python cannot make a virtual environment. On Debian: apt install python3-venv" >&2
        exit 1
    fi
fi
echo "Installing the pinned requirements into $1." >&2
exec "$1/bin/python" -m pip install --quiet --disable-pip-version-check -r "${2:-requirements-dev.txt}"
