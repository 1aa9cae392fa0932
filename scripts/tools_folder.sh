#!/bin/sh
# Makes .tools, where check_tools.sh and openapi_tools.sh build, and prints its real path. With DEVSERVICES_CACHE=FOLDER
# it is a link to FOLDER/tools, which checkouts share; without, a folder of this checkout.
set -eu
cd "$(dirname "$0")/.."
if [ -n "${DEVSERVICES_CACHE:-}" ]; then
    mkdir -p "$DEVSERVICES_CACHE/tools"
    # A folder that this checkout has filled already stays.
    [ -e .tools ] || ln -sfn "$(cd "$DEVSERVICES_CACHE/tools" && pwd -P)" .tools
fi
[ -e .tools ] || { rm -f .tools && mkdir .tools; } # a link to a cache that is gone
cd .tools && pwd -P
