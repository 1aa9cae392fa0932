"""Messages as files: CSV, NDJSON and Parquet, streamed with flat memory."""
