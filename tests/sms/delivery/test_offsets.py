"""The next owner of a partition does not submit the messages again that its commit marks as done."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from apps.sms.delivery.offsets import WINDOW, PartitionProgress

# Brokers' default of offset.metadata.max.bytes.
METADATA_LIMIT = 4096
BATCH = 500


def progress_after(offsets: list[int], done: list[int]) -> PartitionProgress:
    progress = PartitionProgress(position=offsets[0])
    for offset in offsets:
        assert progress.take(offset)
    for offset in done:
        progress.finish(offset)
    return progress


def restart(progress: PartitionProgress) -> tuple[PartitionProgress, int]:
    """The next owner's progress, and the offset from which it reads."""
    position, metadata = progress.to_commit()
    assert len(metadata) <= METADATA_LIMIT
    return PartitionProgress(position=position, metadata=metadata), position


OFFSETS = st.lists(st.integers(1, 40), min_size=1, max_size=200).map(
    lambda steps: [sum(steps[: index + 1]) for index in range(len(steps))]
)


@given(OFFSETS, st.data())
def test_after_a_restart_exactly_the_unfinished_are_taken_again(offsets: list[int], data: st.DataObject) -> None:
    done = data.draw(st.lists(st.sampled_from(offsets), unique=True))
    successor, position = restart(progress_after(offsets, done))
    taken = [offset for offset in offsets if offset >= position and successor.take(offset)]
    assert taken == [offset for offset in offsets if offset not in done]


@given(OFFSETS, st.data())
def test_an_owner_that_read_only_a_part_hands_on_the_rest_too(offsets: list[int], data: st.DataObject) -> None:
    done = set(data.draw(st.lists(st.sampled_from(offsets), unique=True)))
    second, position = restart(progress_after(offsets, sorted(done)))
    reread = [offset for offset in offsets if offset >= position]
    taken = [offset for offset in reread[: data.draw(st.integers(0, len(reread)))] if second.take(offset)]
    finished = data.draw(st.lists(st.sampled_from(taken), unique=True)) if taken else []
    for offset in finished:
        second.finish(offset)
    third, position = restart(second)
    taken = [offset for offset in offsets if offset >= position and third.take(offset)]
    assert taken == [offset for offset in offsets if offset not in done.union(finished)]


@given(st.integers(0, 2**32), st.sampled_from([0.001, 0.1, 0.5, 0.9, 0.999]), st.integers(0, 2**62))
def test_the_metadata_fits_with_any_offsets_done(seed: int, share: float, start: int) -> None:
    rng = random.Random(seed)
    offsets = range(start, start + WINDOW + BATCH)
    done = {offset for offset in offsets[1:] if rng.random() < share}
    progress = progress_after(list(offsets), list(done))
    position, metadata = progress.to_commit()
    assert position == start
    assert len(metadata) <= METADATA_LIMIT
    successor = PartitionProgress(position=position, metadata=metadata)
    assert {offset for offset in offsets if successor.take(offset)} == set(offsets) - done


def test_done_offsets_too_far_ahead_to_note_are_submitted_again_rather_than_refused_by_the_broker() -> None:
    rng = random.Random(1)
    offsets = range(100_000)
    progress = progress_after(list(offsets), [offset for offset in offsets[1:] if rng.random() < 0.5])
    assert len(progress.to_commit()[1]) <= METADATA_LIMIT


@pytest.mark.parametrize("metadata", ["", "x", "2:", "2:%%%", "2:é", "2:AAAA", "1:eNpjYAAAAAMAAQ==", "consumer 7"])
def test_metadata_of_others_hides_nothing(metadata: str) -> None:
    progress = PartitionProgress(position=5, metadata=metadata)
    assert all(progress.take(offset) for offset in range(5, 500))


def test_the_position_passes_only_what_is_done() -> None:
    progress = progress_after([3, 4, 5], [])
    assert progress.to_commit()[0] == 3
    progress.finish(4)
    assert progress.to_commit()[0] == 3
    progress.finish(3)
    assert progress.to_commit() == (5, "")
    progress.finish(5)
    assert progress.to_commit() == (6, "")


def test_it_is_full_while_the_lowest_holds_the_window_open() -> None:
    progress = progress_after(list(range(WINDOW)), list(range(1, WINDOW)))
    assert progress.is_full
    progress.finish(0)
    assert not progress.is_full


def test_a_log_that_the_broker_cut_short_is_read_again() -> None:
    position, metadata = progress_after(list(range(100, 110)), [101, 105]).to_commit()
    progress = PartitionProgress(position=position, metadata=metadata)
    # The broker's log now ends before the commit: what comes are other messages with the old numbers.
    assert all(progress.take(offset) for offset in range(90, 110))
    assert progress.to_commit() == (90, "")


def test_the_next_owner_knows_how_far_the_last_one_had_read() -> None:
    first = PartitionProgress(position=13)
    for offset in range(13, 40):
        first.take(offset)
    assert first.known_end == 13
    for offset in (13, 20, 33):
        first.finish(offset)
    position, metadata = first.to_commit()
    second = PartitionProgress(metadata=metadata, position=position)
    assert (second.position, second.known_end) == (14, 34)
    assert PartitionProgress(position=14).known_end == 14
