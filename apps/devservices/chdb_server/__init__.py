"""ClickHouse's native TCP protocol in front of chDB, the engine as a library: enough for clickhouse-driver."""
