#!/bin/sh
# Run it in docker/ with everything up: a customer with a balance and a key sends a message, which must reach the simulator.
set -eu
customer=$(docker compose run --rm -T api create_customer "Smoke test")
docker compose run --rm -T api topup "$customer" 1000 --reference smoke
key=$(docker compose run --rm -T api api_key create "$customer")
exec ../scripts/smoke_test.sh http://127.0.0.1:8080 "$key" "$customer" +989121234501
