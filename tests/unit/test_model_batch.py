"""Ranges share nobody and miss nobody; a ledger's counts are its bytes."""

from __future__ import annotations

from itertools import pairwise

from hypothesis import example, given
from hypothesis import strategies as st

from shared.model import batch

_sids = st.binary(min_size=16, max_size=16).map(bytes.hex)


@given(st.integers(0, 300_000), st.lists(_sids, max_size=20))
@example(1_000, ["0" * 32, "f" * 32, "55555555555555550000000000000000", "55555555555555550000000000000001"])
@example(801, ["55555555555555555555555555555555", "aaaaaaaaaaaaaaaa0000000000000000", "aaaaaaaaaaaaaaa9ffffffffffffffff"])
def test_ranges_are_a_partition(recipients: int, sids: list[str]) -> None:
    found = batch.ranges(recipients)
    assert len(found) == max(1, -(-recipients // batch.BATCH_SIZE))
    assert (found[0]["low"], found[-1]["high"]) == ("", "")
    edges = [part["high"] for part in found[:-1]]
    assert edges == [part["low"] for part in found[1:]] == sorted(set(edges))
    for sid in sids + [edge + "0" * 16 for edge in edges[:50]] + [edge + "f" * 16 for edge in edges[:50]]:
        holders = [part for part in found if sid > part["low"] and (not part["high"] or sid < part["high"])]
        assert len(holders) == 1


@given(st.integers(1, 300_000))
def test_ranges_are_equal(recipients: int) -> None:
    edges = [0, *(int(part["low"], 16) for part in batch.ranges(recipients)[1:]), 1 << 64]
    widths = [high - low for low, high in pairwise(edges)]
    assert max(widths) - min(widths) <= 1


@given(st.lists(st.tuples(_sids, st.sampled_from(sorted(batch.NAMES))), max_size=30))
def test_a_ledger_unpacks_to_what_was_packed(entries: list[tuple[str, int]]) -> None:
    packed = b"".join(bytes.fromhex(sid) for sid, _ in entries)
    assert batch.sids(packed) == [sid for sid, _ in entries]
    tally = batch.tally(bytes(state for _, state in entries))
    assert sum(tally.values()) == len(entries)
    assert set(tally) <= {*batch.END_STATES, "handed", "deferred"}


def test_both_ways_of_being_skipped_are_one_end_state() -> None:
    assert batch.tally(b"ljjs") == {"skipped": 3, "sent": 1}
