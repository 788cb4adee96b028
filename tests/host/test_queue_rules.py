"""What becomes of a message, as a table."""

from datetime import timedelta

import pytest

from dev.host import queue_rules
from dev.host.queue_rules import Ending, Leave, MoveToPoison, QueueOptions, Release, Run

WAIT = timedelta(seconds=30)
OPTIONS = QueueOptions(
    batch_size=16,
    new_batch_threshold=8,
    max_dequeue_count=5,
    visibility_timeout=WAIT,
    max_polling_interval=timedelta(seconds=10),
    base64=True,
)


@pytest.mark.parametrize(
    ("queue", "dequeue_count", "ending"),
    [
        ("jobs", 1, Release(WAIT)),
        ("jobs", 4, Release(WAIT)),
        ("jobs", 5, MoveToPoison()),
        ("jobs", 6, MoveToPoison()),
        ("jobs-poison", 1, Leave()),
        ("jobs-poison", 5, Leave()),
    ],
)
def test_a_failure_ends(queue: str, dequeue_count: int, ending: Ending) -> None:
    assert queue_rules.after_failure(queue, dequeue_count, OPTIONS) == ending


@pytest.mark.parametrize(
    ("queue", "dequeue_count", "entry"),
    [
        ("jobs", 5, Run()),
        ("jobs", 6, MoveToPoison()),
        ("jobs-poison", 5, Run()),
        ("jobs-poison", 6, Leave()),
    ],
)
def test_a_message_that_came_too_often_is_not_run(
    queue: str, dequeue_count: int, entry: Run | MoveToPoison | Leave
) -> None:
    assert queue_rules.before(queue, dequeue_count, OPTIONS) == entry


def test_an_empty_queue_is_asked_less_and_less_often_up_to_a_limit() -> None:
    pauses = [queue_rules.SHORTEST_PAUSE]
    for _ in range(10):
        pauses.append(queue_rules.longer_pause(pauses[-1], timedelta(seconds=10)))

    assert pauses == sorted(pauses)
    assert pauses[-1] == timedelta(seconds=10)
