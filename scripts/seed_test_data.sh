#!/bin/sh
# Creates the demo's three customers: names, paces in segments per second, balances in minor units.
# Not in SQL: a balance and its ledger must change together, by the gateway's own code.
set -eu
cd "$(dirname "$0")/.."
exec .venv/bin/python manage.py seed bank:60:1000000 clinic:40:250000 shop:50:90000
