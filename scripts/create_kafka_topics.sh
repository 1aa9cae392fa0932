#!/bin/sh
# The Kafka topics that are missing, with KAFKA_PARTITIONS and KAFKA_REPLICATION of the settings.
set -eu
cd "$(dirname "$0")/.."
exec .venv/bin/python manage.py create_kafka_topics
