from tests.support.clickhouse import away, database

__all__ = ["away", "database"]
