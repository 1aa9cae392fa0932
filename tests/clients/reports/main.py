# ruff: noqa: T201
import datetime as dt
import os

from sms import AuthenticatedClient
from sms.api.statistics import get_summary
from sms.models import GetSummaryFill, Problem

client = AuthenticatedClient(base_url=os.environ["SMS_URL"], token=os.environ["SMS_KEY"])
start = dt.datetime(2026, 11, 1, 9, tzinfo=dt.UTC)
end = start + dt.timedelta(hours=3)
found = get_summary.sync(client=client, from_=start, to=end, group_by="hour", fill=GetSummaryFill("1"))
assert found is not None
assert not isinstance(found, Problem)
print("summary", len(found.rows), "rows", found.rows[0].accepted, found.rows[0].hour.hour, found.group_by[0].value)

problem = get_summary.sync(client=client, from_=start, to=start)
assert isinstance(problem, Problem)
print("problem", problem.code, problem.errors[0].field)
