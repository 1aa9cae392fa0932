from tests.reporting.conftest import away, database

__all__ = ["away", "database"]
