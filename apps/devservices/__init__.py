"""PostgreSQL, Kafka and ClickHouse for one machine, without Docker or root. For development and tests only."""
