#!/bin/sh
# make_venv.sh FOLDER [REQUIREMENTS]: creates a virtual environment there with the locked requirements, from Python 3.11 to 3.13.
set -eu

python=""
for candidate in ${PYTHON:-} python3.11 python3.12 python3.13 python3 python; do
    if "$candidate" -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))' >/dev/null 2>&1; then
        python=$candidate
        break
    fi
done
if [ -z "$python" ]; then
    echo "build: no Python 3.11, 3.12 or 3.13 is on the PATH. Install one, or name it: make build PYTHON=/path/to/python3.11" >&2
    exit 1
fi
if ! "$1/bin/python" -m pip --version >/dev/null 2>&1; then
    if ! "$python" -m venv --clear "$1" >&2; then
        echo "build: $python cannot create a virtual environment. On Debian: apt install python3-venv" >&2
        exit 1
    fi
fi
echo "Installing the locked requirements into $1." >&2
python="$1/bin/python" locked="${2:-requirements-dev.txt}"
pip="$python -m pip install --quiet --disable-pip-version-check --require-hashes -r"
# uv takes a tenth of pip's time. It does not read pip's settings, so it gets the index from them; where it cannot
# install, such as behind a proxy that only pip knows, pip does.
index=${PIP_INDEX_URL:-$("$python" -m pip config get global.index-url 2>/dev/null || true)}
if [ -n "$index" ]; then
    export UV_DEFAULT_INDEX="${UV_DEFAULT_INDEX:-$index}"
fi
if $pip requirements-install.txt &&
    UV_SYSTEM_CERTS=${UV_SYSTEM_CERTS:-1} UV_HTTP_RETRIES=${UV_HTTP_RETRIES:-1} \
        "$1/bin/uv" pip install --quiet --python "$python" --require-hashes -r "$locked"; then
    exit 0
fi
echo "Installing with pip instead." >&2
exec $pip "$locked"
