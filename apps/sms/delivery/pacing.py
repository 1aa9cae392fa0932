"""Token buckets: how fast messages go out, counted in segments. Times are seconds of one monotonic clock."""

from __future__ import annotations


class TokenBucket:
    """`rate` tokens a second, at most one second's worth saved up.

    A message of more segments than the bucket holds passes when the bucket is full, and leaves a debt: the mean pace
    holds for messages of any size.
    """

    __slots__ = ("_at", "_tokens", "rate")

    def __init__(self, *, rate: float, now: float, filling_since: float = float("-inf")) -> None:
        """A bucket that was empty at `filling_since`."""
        self.rate = rate
        self._tokens = min(rate, (now - filling_since) * rate)
        self._at = now

    def take(self, segments: int, *, now: float) -> float:
        """Take the segments and return 0, or take nothing and return the seconds to wait."""
        self._fill(now)
        lacking = min(segments, self.rate) - self._tokens
        # Rounding must not make a message wait again that comes at the time it was given.
        if lacking > 1e-6:
            return lacking / self.rate
        self._tokens -= segments
        return 0.0

    def wait(self, *, now: float) -> float:
        """Seconds until a message of one segment would pass."""
        self._fill(now)
        lacking = min(1.0, self.rate) - self._tokens
        return lacking / self.rate if lacking > 1e-6 else 0.0

    def spend(self, segments: int) -> None:
        """Take the segments; what the bucket does not have becomes a debt."""
        self._tokens -= segments

    def is_full(self, *, now: float) -> bool:
        return self._tokens + (now - self._at) * self.rate >= self.rate

    def _fill(self, now: float) -> None:
        self._tokens = min(self.rate, self._tokens + (now - self._at) * self.rate)
        self._at = now


class Paces:
    """The bucket of each customer, shared by all operators' queues of this worker.

    A bucket starts empty when its partition is assigned: the customer may just have spent its tokens at the last owner.
    """

    def __init__(self) -> None:
        self._buckets: dict[str, tuple[int, TokenBucket]] = {}
        self._assigned_at: dict[int, float] = {}

    def assigned(self, partitions: set[int], *, now: float) -> None:
        """Note that the partitions with these numbers are ours from now on."""
        for number in partitions:
            self._assigned_at[number] = now

    def given_up(self, partitions: set[int]) -> None:
        """Forget the customers of these partitions: another worker owns them now."""
        for number in partitions:
            self._assigned_at.pop(number, None)
        for customer_id, (number, _) in list(self._buckets.items()):
            if number in partitions:
                del self._buckets[customer_id]

    def bucket(self, customer_id: str, *, partition: int, rate: float, now: float) -> TokenBucket:
        """The customer's bucket, with this rate from now on."""
        found = self._buckets.get(customer_id)
        if found is None:
            since = self._assigned_at.get(partition, float("-inf"))
            found = partition, TokenBucket(rate=rate, now=now, filling_since=since)
            self._buckets[customer_id] = found
        found[1].rate = rate
        return found[1]

    def forget_idle(self, *, now: float) -> None:
        """Drop the full buckets: a new one would be the same."""
        full = [customer_id for customer_id, (_, bucket) in self._buckets.items() if bucket.is_full(now=now)]
        for customer_id in full:
            del self._buckets[customer_id]
