"""`manage.py deliver`: submits messages to operators."""

from __future__ import annotations

import asyncio
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError

from apps.sms.delivery.lost_offsets import OffsetsLost
from apps.sms.delivery.rebalance import LanesDiffer
from apps.sms.delivery.worker import DeliveryWorker
from apps.sms.operators import registry
from apps.sms.routing.database import carrier
from apps.sms.routing.follower import RoutesReader
from apps.sms.suspension.follower import SuspensionsReader
from smsgateway.checks import WITHOUT_URLS
from smsgateway.config import Config
from smsgateway.kafka import client as kafka
from smsgateway.kafka import topics
from smsgateway.process import Process, running


class Command(BaseCommand):
    help = "Submit messages to operators until stopped; on SIGTERM finish those in flight first."
    requires_system_checks = WITHOUT_URLS

    def handle(self, *_arguments: Any, **_options: Any) -> None:
        with running("deliver") as process:
            topics.warn_in_background(settings.CONFIG.kafka)
            try:
                asyncio.run(_deliver(process, settings.CONFIG))
            except LanesDiffer as error:
                raise CommandError(str(error)) from None
            except OffsetsLost as error:
                raise CommandError(f"{error.__doc__}. {error}") from None


async def _deliver(process: Process, config: Config) -> None:
    operators = registry.build(config)
    routes = RoutesReader(config, carrier=carrier, connections=operators)
    suspensions = SuspensionsReader(config)
    # Nothing is sent before the suspended customers are known. That wait has no limit: it ends when Kafka answers.
    starting = asyncio.gather(routes.start(), suspensions.start(until=process.stopping))
    while not (await asyncio.wait([starting], timeout=1))[0]:
        process.beat()
    await starting
    try:
        worker = DeliveryWorker(
            process,
            producer=kafka.producer(config.kafka, client_id="smsgateway-deliver"),
            operators=operators,
            routes=routes,
            suspensions=suspensions,
            config=config,
        )
        await worker.run()
    finally:
        await routes.close()
        await suspensions.close()
