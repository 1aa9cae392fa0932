#!/bin/sh
# smoke_test.sh URL [KEY CUSTOMER NUMBER]: checks that the API at URL works. With a customer's key it sends one message to
# NUMBER, which costs money, and waits until the worker has submitted it to its operator.
set -eu
url=${1:?"URL of the API, as https://sms.example.com"}
curl --fail --silent --show-error --max-time 10 "$url/v1/openapi.json" >/dev/null
echo "the API answers"
[ $# -ge 4 ] || exit 0
key=$2 customer=$3 number=$4
answer=$(curl --fail --silent --show-error --max-time 10 "$url/v1/sms/send" -H "Authorization: Bearer $key" \
    -H 'Content-Type: application/json' -H "Idempotency-Key: smoke-$(date +%s)-$$" \
    -d "{\"customer_id\": \"$customer\", \"to\": \"$number\", \"text\": \"Smoke test\"}")
id=$(echo "$answer" | sed -n 's/.*"id": *"\([0-9A-Z]*\)".*/\1/p')
echo "accepted: $id"
for _ in $(seq 60); do
    status=$(curl --fail --silent --max-time 10 "$url/v1/sms/$id" -H "Authorization: Bearer $key" |
        sed -n 's/^[^[]*"status": *"\([a-z]*\)".*/\1/p')
    case $status in
    submitted | delivered) echo "$status"; exit 0 ;;
    failed | rejected | expired | undelivered) echo "the message ended: $status" >&2; exit 1 ;;
    esac
    sleep 1
done
echo "the message is still $status after a minute" >&2
exit 1
