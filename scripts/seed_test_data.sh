#!/bin/sh
# Three customers with money, as the demo has them: names, paces in segments a second, balances in minor units.
# Not SQL: a balance and its ledger change together, which is the business of the gateway's own code.
set -eu
cd "$(dirname "$0")/.."
exec .venv/bin/python manage.py seed bank:60:1000000 clinic:40:250000 shop:50:90000
