#!/bin/sh
# Creates the missing Kafka topics, with the settings KAFKA_PARTITIONS and KAFKA_REPLICATION.
set -eu
cd "$(dirname "$0")/.."
exec .venv/bin/python manage.py create_kafka_topics
