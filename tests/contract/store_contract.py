"""What every Store must do. A subclass per implementation gives the `store` fixture; pytest collects the subclasses only."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from shared.errors import Conflict
from shared.ports import MAX_WRITES, ArrayUnion, Create, Delete, Expiry, Filter, Maximum, Merge, Minimum, Replace, Store, Write

VALUES: dict[str, Any] = {
    "none": None,
    "yes": True,
    "zero": 0,
    "large": 2**62,
    "negative": -(2**62),
    "float": 0.1,
    "text": 'Zoë "quoted" \\ \u2028 \x00 😀',
    "bytes": bytes(range(256)),
    "expiry": Expiry(1_795_000_000_123),
    "empty": {"list": [], "map": {}, "bytes": b"", "text": ""},
    "list": [1, "a", b"\xff", {"deep": [{"er": None}]}],
    "map": {"a.b": 1, "with space": {"ü": [True, False]}},
}


async def _data(store: Store, path: str) -> dict[str, Any] | None:
    document = await store.get(path)
    return None if document is None else document.data


def _typed(value: Any) -> Any:
    """`value` with its types, since True == 1 == 1.0."""
    if isinstance(value, dict):
        return {name: _typed(item) for name, item in value.items()}
    return [_typed(item) for item in value] if isinstance(value, list) else (type(value), value)


def _ids(documents: list[Any]) -> list[str]:
    return [document.id for document in documents]


class StoreContract:
    # --- values and reads ---------------------------------------------------------------------------------------------

    async def test_values_round_trip_with_their_types(self, store: Store) -> None:
        await store.commit([Create("c/1", VALUES), Merge("c/2", VALUES)])
        for path in ("c/1", "c/2"):
            assert _typed(await _data(store, path)) == _typed(VALUES)

    async def test_get_answers_none_for_an_absent_document(self, store: Store) -> None:
        await store.commit([Create("c/1", {"a": 1})])
        assert await store.get("c/2") is None
        assert await store.get("c/1/d/1") is None

    async def test_a_document_knows_its_path_id_and_version(self, store: Store) -> None:
        [version] = await store.commit([Create("a/b/c/d", {})])
        document = await store.get("a/b/c/d")
        assert document is not None
        assert (document.path, document.id, document.version, document.data) == ("a/b/c/d", "d", version, {})

    async def test_get_cuts_to_the_fields_asked_for(self, store: Store) -> None:
        await store.commit([Create("c/1", {"a": 1, "b": {"x": 2}, "c": 3})])
        for fields, expected in ((["b", "absent"], {"b": {"x": 2}}), ([], {})):
            document = await store.get("c/1", fields)
            assert document is not None and document.data == expected

    async def test_get_many_keeps_the_order_and_repeats(self, store: Store) -> None:
        await store.write_many([Create(f"c/{n}", {"n": n}) for n in range(120)])
        paths = [f"c/{n}" for n in (119, 3, 500, 3, *range(100))]
        found = await store.get_many(paths, ["n"])
        assert [document and document.data["n"] for document in found] == [119, 3, None, 3, *range(100)]
        assert await store.get_many([]) == []

    async def test_what_was_read_is_the_callers_own(self, store: Store) -> None:
        await store.commit([Create("c/1", {"list": [1]})])
        first = await store.get("c/1")
        assert first is not None
        first.data["list"].append(2)
        assert await _data(store, "c/1") == {"list": [1]}

    # --- writes -------------------------------------------------------------------------------------------------------

    async def test_create_refuses_an_existing_document(self, store: Store) -> None:
        await store.commit([Create("c/1", {"a": 1})])
        with pytest.raises(Conflict) as caught:
            await store.commit([Create("c/1", {"a": 2})])
        assert (caught.value.path, caught.value.why) == ("c/1", "exists")
        assert await _data(store, "c/1") == {"a": 1}

    async def test_merge_makes_keeps_and_replaces_whole_fields(self, store: Store) -> None:
        await store.commit([Merge("c/1", {"a": {"x": 1}, "b": 2, "empty": 0})])
        await store.commit([Merge("c/1", {"a": {"y": 3}, "empty": {}})])
        assert await _data(store, "c/1") == {"a": {"y": 3}, "b": 2, "empty": {}}
        await store.commit([Merge("c/1", {})])
        assert await _data(store, "c/1") == {"a": {"y": 3}, "b": 2, "empty": {}}

    async def test_a_field_path_sets_inside_a_map_and_keeps_neighbours(self, store: Store) -> None:
        await store.commit([Create("c/1", {"a": {"x": 1, "m": {"k": 1}}, "text": "t"})])
        await store.commit([Merge("c/1", {"a.y": 2, "a.m.l": 3, "new.deep.er": 4, "text.now": "a map"})])
        assert await _data(store, "c/1") == {
            "a": {"x": 1, "y": 2, "m": {"k": 1, "l": 3}},
            "new": {"deep": {"er": 4}},
            "text": {"now": "a map"},
        }

    async def test_minimum_and_maximum(self, store: Store) -> None:
        await store.commit([Create("c/1", {"low": 5, "high": 5, "text": "t", "flag": True, "at": {"first": 9, "last": 9}})])
        change = {"low": Minimum(3), "high": Maximum(3), "text": Minimum(1), "flag": Maximum(0), "new": Maximum(7)}
        await store.commit([Merge("c/1", change | {"at.first": Minimum(4), "at.last": Maximum(12.5), "at.new": Minimum(1)})])
        expected = {"low": 3, "high": 5, "text": 1, "flag": 0, "new": 7, "at": {"first": 4, "last": 12.5, "new": 1}}
        assert await _data(store, "c/1") == expected
        for _ in range(2):  # order-free and idempotent
            await store.commit([Merge("c/1", {"low": Minimum(8), "at.last": Maximum(12.5)})])
        assert await _data(store, "c/1") == expected

    async def test_replace_leaves_exactly_what_it_says(self, store: Store) -> None:
        await store.commit([Create("c/1", {"a": {"x": 1}, "b": 2, "e": Expiry(9_000)})])
        [version] = await store.commit([Replace("c/1", {"a": {"y": 3}, "c": ArrayUnion(("z",))})])
        document = await store.get("c/1")
        assert document is not None and document.version == version
        assert document.data == {"a": {"y": 3}, "c": ["z"]}
        await store.commit([Replace("c/2", {"made": True}), Replace("c/1", {}, version)])
        assert (await _data(store, "c/1"), await _data(store, "c/2")) == ({}, {"made": True})
        with pytest.raises(Conflict) as caught:
            await store.commit([Replace("c/1", {"late": 1}, version)])
        assert (caught.value.path, caught.value.why) == ("c/1", "version")
        with pytest.raises(Conflict):
            await store.commit([Create("c/3", {}), Replace("c/4", {}, version)])
        assert await store.get("c/3") is None
        [refused, done] = await store.write_many([Replace("c/4", {}, version), Replace("c/2", {"b": b"x"})])
        assert isinstance(refused, Conflict) and isinstance(done, str) and await _data(store, "c/2") == {"b": b"x"}

    async def test_array_union(self, store: Store) -> None:
        await store.commit([Create("c/1", {"tags": ["a", 1], "text": "t", "m": {"n": [{"k": 1}]}, "new": ArrayUnion(("x",))})])
        change = {"tags": ArrayUnion(("b", "a", "b", 1.0, True)), "text": ArrayUnion(("x",)), "empty": ArrayUnion(())}
        for _ in range(2):
            await store.commit([Merge("c/1", change | {"m.n": ArrayUnion(({"k": 1}, {"k": 2}))})])
        found = await _data(store, "c/1")
        assert found == {
            "tags": ["a", 1, "b", True],
            "text": ["x"],
            "m": {"n": [{"k": 1}, {"k": 2}]},
            "new": ["x"],
            "empty": [],
        }
        assert found is not None and found["tags"][3] is True

    async def test_transforms_work_on_a_document_that_is_absent(self, store: Store) -> None:
        await store.commit([Merge("c/1", {"a.low": Minimum(3), "tags": ArrayUnion(("x", "x"))})])
        assert await _data(store, "c/1") == {"a": {"low": 3}, "tags": ["x"]}

    async def test_a_version_changes_when_the_document_does_even_across_delete(self, store: Store) -> None:
        versions = []
        writes = (Create("c/1", {"a": 1}), Merge("c/1", {"a": 2}), Merge("c/1", {"a": 2}), Merge("c/1", {}), Delete("c/1"))
        for write in (*writes, Create("c/1", {"a": 2})):
            versions += await store.commit([write])
        made, changed, same, nothing, deleted, again = versions
        assert changed == same == nothing
        assert deleted == ""
        assert len({made, changed, deleted, again}) == 4
        document = await store.get("c/1")
        assert document is not None and document.version == again

    @pytest.mark.parametrize("make", [lambda v: Merge("c/1", {"a": 2}, v), lambda v: Delete("c/1", v)], ids=["merge", "delete"])
    async def test_if_version(self, store: Store, make: Any) -> None:
        [old] = await store.commit([Create("c/1", {"a": 0})])
        [version] = await store.commit([Merge("c/1", {"a": 1})])
        with pytest.raises(Conflict) as caught:
            await store.commit([make(old)])
        assert (caught.value.path, caught.value.why) == ("c/1", "version")
        assert await _data(store, "c/1") == {"a": 1}
        await store.commit([make(version)])
        assert await _data(store, "c/1") in (None, {"a": 2})
        await store.commit([Delete("c/1")])
        with pytest.raises(Conflict) as caught:
            await store.commit([make(version)])
        assert caught.value.why == "version"
        assert await store.get("c/1") is None

    async def test_deleting_an_absent_document_is_no_error(self, store: Store) -> None:
        assert await store.commit([Delete("c/1")]) == [""]

    async def test_a_commit_is_all_or_nothing(self, store: Store) -> None:
        await store.commit([Create("c/2", {}), Create("c/3", {"a": 1})])
        with pytest.raises(Conflict):
            await store.commit([Create("c/1", {}), Merge("c/3", {"a": 2}), Delete("c/3x"), Create("c/2", {})])
        assert await store.get("c/1") is None
        assert await _data(store, "c/3") == {"a": 1}

    async def test_of_many_conditional_writers_one_wins(self, store: Store) -> None:
        [version] = await store.commit([Create("c/1", {"owner": -1})])
        attempts = [store.commit([Merge("c/1", {"owner": n}, version), Create(f"won/{n}", {})]) for n in range(20)]
        results = await asyncio.gather(*attempts, return_exceptions=True)
        winners = [n for n, result in enumerate(results) if not isinstance(result, BaseException)]
        assert len(winners) == 1
        assert await _data(store, "c/1") == {"owner": winners[0]}
        assert _ids(await store.page("won")) == [str(winners[0])]

    async def test_write_many_answers_for_each_write(self, store: Store) -> None:
        [version] = await store.commit([Create("c/exists", {"a": 1})])
        results = await store.write_many(
            [Create("c/exists", {}), Create("c/new", {}), Merge("c/gone", {}, version), Merge("c/made", {}), Delete("c/none")]
        )
        kinds = [result.why if isinstance(result, Conflict) else bool(result) for result in results]
        assert kinds == ["exists", True, "version", True, False]
        assert await _data(store, "c/exists") == {"a": 1}
        assert await store.count("c") == 3

    async def test_write_many_takes_any_number(self, store: Store) -> None:
        results = await store.write_many([Create(f"c/{n:05}", {}) for n in range(2 * MAX_WRITES + 1)])
        assert len(set(map(str, results))) == 2 * MAX_WRITES + 1
        assert await store.count("c") == 2 * MAX_WRITES + 1
        assert await store.write_many([]) == []

    async def test_a_commit_takes_at_most_500(self, store: Store) -> None:
        with pytest.raises(ValueError):
            await store.commit([Create(f"c/{n}", {}) for n in range(MAX_WRITES + 1)])
        assert await store.count("c") == 0
        await store.commit([Create(f"c/{n}", {}) for n in range(MAX_WRITES)])
        assert await store.count("c") == MAX_WRITES
        assert await store.commit([]) == []

    @pytest.mark.parametrize(
        "write",
        [
            Create("c", {}),
            Create("c/1/d", {}),
            Create("c//d/1", {}),
            Create("/c/1/d", {}),
            Create("c/", {}),
            Create("", {}),
            Create("c/1", {"a": object}),
            Create("c/1", {"a": {1: 2}}),
            Create("c/1", {"a": [[1]]}),
            Create("c/1", {"a": 2**63}),
            Create("c/1", {"a": "\ud800"}),
            Create("c/1", {"a": {"b": Minimum(1)}}),
            Create("c/1", {"a": Expiry(-1)}),
            Create("c/1", {"a": Expiry(2**48)}),
            Create("c/1", {"__a__": 1}),
            Create("c/1", {"a": {"__bytes__": "AAAA"}}),
            Create("c/1", {"a.b": 1}),
            Replace("c/1", {"a.b": 1}),
            Merge("c/1", {"a..b": 1}),
            Merge("c/1", {"": 1}),
            Merge("c/1", {"a": {}, "a.b": 1}),
            Merge("c/1", {"a": Maximum("x")}),  # type: ignore[arg-type]
            Merge("c/1", {"a": ArrayUnion(([1],))}),
        ],
        ids=str,
    )
    async def test_what_cannot_be_written_is_a_value_error(self, store: Store, write: Write) -> None:
        for attempt in (store.commit, store.write_many):
            with pytest.raises(ValueError):
                await attempt([Create("ok/1", {}), write])
        assert await store.get("ok/1") is None

    async def test_a_path_twice_in_one_call_is_a_value_error(self, store: Store) -> None:
        for attempt in (store.commit, store.write_many):
            with pytest.raises(ValueError):
                await attempt([Create("c/1", {}), Merge("c/1", {})])
        assert await store.get("c/1") is None

    async def test_paths_that_cannot_be_read_are_value_errors(self, store: Store) -> None:
        for read in (store.get("c"), store.get_many(["c/1/d"]), store.page("c/1"), store.count("c/1"), store.page("")):
            with pytest.raises(ValueError):
                await read

    # --- pages --------------------------------------------------------------------------------------------------------

    async def test_pages_are_ordered_bytewise_and_stay_in_their_collection(self, store: Store) -> None:
        ids = ["Z", "a", "B", "é", "ab", "a!", "a0", "😀", "～", "1", "10", "2"]
        await store.write_many([Create(f"c/{id}", {"id": id}) for id in ids])
        await store.commit([Create("c/a/sub/x", {}), Create("c2/x", {}), Create("b/a", {})])
        ordered = sorted(ids, key=str.encode)
        assert _ids(await store.page("c")) == ordered
        walked: list[str] = []
        while page := await store.page("c", after=walked[-1] if walked else "", limit=5):
            walked += _ids(page)
        assert walked == ordered
        assert _ids(await store.page("c", Filter(below="a0"), after="B")) == [id for id in ordered if b"B" < id.encode() < b"a0"]
        assert await store.page("nowhere") == []

    async def test_filters(self, store: Store) -> None:
        rows: dict[str, dict[str, Any]] = {
            "1": {"state": "open", "segments": ["everyone", "vip"], "n": 1, "m": {"s": "x", "t": ["y"]}},
            "2": {"state": "closed", "segments": ["everyone"], "n": True, "note": "open", "m": {"s": "z", "t": []}},
            "3": {"state": "open", "segments": "everyone", "n": 1.0, "m": "x"},
            "4": {"state": None, "segments": ["vip", 1, b"\x01"], "n": "1"},
            "5": {"segments": [], "n": None, "blob": b"\x01", "list": ["a", {"k": 1}]},
        }
        await store.commit([Create(f"c/{id}", data) for id, data in rows.items()])
        cases: list[tuple[Filter, str]] = [
            (Filter(equals=("state", "open")), "13"),
            (Filter(equals=("state", None)), "4"),
            (Filter(equals=("n", 1)), "13"),
            (Filter(equals=("n", 1.0)), "13"),
            (Filter(equals=("n", True)), "2"),
            (Filter(equals=("n", "1")), "4"),
            (Filter(equals=("blob", b"\x01")), "5"),
            (Filter(equals=("list", ["a", {"k": 1.0}])), "5"),
            (Filter(equals=("m.s", "x")), "1"),
            (Filter(equals=("m", {"t": [], "s": "z"})), "2"),
            (Filter(contains=("segments", "everyone")), "12"),
            (Filter(contains=("segments", "vip")), "14"),
            (Filter(contains=("segments", b"\x01")), "4"),
            (Filter(contains=("segments", 1)), "4"),
            (Filter(contains=("list", {"k": 1})), "5"),
            (Filter(contains=("m.t", "y")), "1"),
            (Filter(equals=("state", "open"), contains=("segments", "everyone")), "1"),
            (Filter(equals=("state", "open"), below="3"), "1"),
            (Filter(below="3"), "12"),
            (Filter(below=""), ""),
        ]
        for filter, expected in cases:
            assert "".join(_ids(await store.page("c", filter))) == expected, filter
            assert await store.count("c", filter) == len(expected), filter
            assert _ids(await store.page("c", filter, limit=1)) == list(expected[:1]), filter

    async def test_at_most_begins_with_the_smallest(self, store: Store) -> None:
        values: list[Any] = [30, 10, 20, 10, 2**53, "5", None, True, 9.5, {"deep": 1}, [1]]
        await store.write_many([Create(f"c/{n:02d}", {"due": value, "m": {"n": n}}) for n, value in enumerate(values)])
        await store.commit([Create("c/absent", {"other": 1}), Create("d/00", {"due": 1, "m": {"n": 0}})])
        assert _ids(await store.page("c", Filter(at_most=("due", 20)))) == ["08", "01", "03", "02"]
        assert _ids(await store.page("c", Filter(at_most=("due", 20)), limit=2)) == ["08", "01"]
        assert _ids(await store.page("c", Filter(at_most=("m.n", 1)))) == ["00", "01"]
        assert await store.page("c", Filter(at_most=("due", 9))) == []
        assert (await store.count("c", Filter(at_most=("due", 30))), await store.count("c", Filter(at_most=("no", 30)))) == (5, 0)

    async def test_a_page_is_cut_to_its_fields_after_filtering(self, store: Store) -> None:
        await store.commit([Create("c/1", {"a": 1, "b": 2}), Create("c/2", {"a": 2, "b": 2})])
        [document] = await store.page("c", Filter(equals=("a", 2)), fields=["b"])
        assert (document.path, document.data) == ("c/2", {"b": 2})

    async def test_reads_see_what_was_committed_before(self, store: Store) -> None:
        async def write_then_read(n: int) -> None:
            await store.commit([Create(f"c/{n}", {"n": n})])
            assert await _data(store, f"c/{n}") == {"n": n}
            assert f"{n}" in _ids(await store.page("c", Filter(equals=("n", n))))

        await asyncio.gather(*(write_then_read(n) for n in range(30)))
