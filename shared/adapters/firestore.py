"""The Store on Cloud Firestore, with the official client's channel and messages (firestore_calls).

Nobody retries but this file. A reply can be lost after Firestore has applied the write, so a write that is tried
again may fail on its own precondition: then the documents are read back, and when they hold what was to be written, it was ours.
For that a claim must name its owner: a write that two callers could make with the same content is not one.

Least role: roles/datastore.user.
"""

from __future__ import annotations

import asyncio
import math
import random
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from typing import Any, Literal, TypeVar

from google.api_core import exceptions

from shared.adapters.documents import Operations, check_collection, check_writes, field, is_number, names, same, split
from shared.adapters.firestore_calls import Aggregate, BatchGet, BatchWrite, Calls, Commit, Get, RunQuery
from shared.adapters.firestore_values import compare, fields_of, put, put_transform, quoted, value_of, version, version_of
from shared.errors import Conflict, Unavailable
from shared.ports import MAX_WRITES, ArrayUnion, Create, Delete, Document, Filter, Maximum, Merge, Minimum, Replace, Write

ATTEMPTS = 5
PAUSE = 0.1  # seconds before the second attempt; doubles from there
MAX_DETAIL = 300  # characters of Google's own sentence
MAX_READS = 300  # documents in one BatchGetDocuments

_AND, _IS_NULL, _LESS_THAN, _AT_MOST, _EQUAL, _ARRAY_CONTAINS = 1, 3, 1, 2, 5, 7  # of StructuredQuery's operators
_REFUSED = (exceptions.AlreadyExists, exceptions.FailedPrecondition, exceptions.NotFound)
_FINAL = frozenset({3, 5, 7, 9, 11, 12, 16})  # google.rpc.Code: our fault or the operator's
_CODES: dict[int, Literal["exists", "version"]] = {6: "exists", 9: "version", 5: "version"}  # google.rpc.Code
T = TypeVar("T")


class Firestore:
    """Implements `shared.ports.Store`. A malformed path, field name or value, or a path twice in a call, is a ValueError."""

    def __init__(self, calls: Calls, database: str) -> None:
        self._calls = calls
        self._database = database  # projects/{project}/databases/{database}
        self._root = f"{database}/documents/"
        self.operations = Operations()

    @classmethod
    def connect(cls, project: str, database: str = "(default)", emulator_host: str = "") -> Firestore:
        """With default credentials (ConfigError without), or to an emulator. Needs a running event loop."""
        name = f"projects/{project}/databases/{database}"
        return cls(Calls.connect(name, emulator_host), name)

    async def close(self) -> None:
        await self._calls.close()

    # --- reads --------------------------------------------------------------------------------------------------------

    async def get(self, path: str, fields: Sequence[str] | None = None) -> Document | None:
        """The document, cut to `fields`, or None."""
        split(path)
        request = Get(name=self._root + path)
        self._mask(request, fields)

        async def read() -> Document | None:
            try:
                return self._document(await self._calls.get(request))
            except exceptions.NotFound as error:
                if _no_database(error):
                    raise
                return None

        found = await self._again(read)
        self.operations.reads += 1
        return found

    async def get_many(self, paths: Sequence[str], fields: Sequence[str] | None = None) -> list[Document | None]:
        """As `get`, in the order of `paths`."""
        for path in paths:
            split(path)
        wanted = list(dict.fromkeys(paths))
        parts = [wanted[start : start + MAX_READS] for start in range(0, len(wanted), MAX_READS)]
        reads = [self._again(partial(self._get, part, fields)) for part in parts]
        answers = await asyncio.gather(*reads) if len(reads) != 1 else [await reads[0]]  # nearly always: a task costs
        found: dict[str, Document] = {}
        for documents in answers:
            found |= documents
        self.operations.reads += len(wanted)
        return [found.get(path) for path in paths]

    async def _get(self, paths: Sequence[str], fields: Sequence[str] | None) -> dict[str, Document]:
        request = BatchGet(database=self._database, documents=[self._root + path for path in paths])
        self._mask(request, fields)
        answers = await self._calls.batch_get(request)
        documents = (self._document(answer.found) for answer in answers if answer.WhichOneof("result") == "found")
        return {document.path: document for document in documents}

    def _mask(self, request: Any, fields: Sequence[str] | None) -> None:
        if fields is not None:
            request.mask.field_paths.extend(map(quoted, fields) if fields else ["__name__"])

    async def page(
        self,
        collection: str,
        filter: Filter = Filter(),
        after: str = "",
        limit: int = 300,
        fields: Sequence[str] | None = None,
    ) -> list[Document]:
        """Up to `limit` documents directly in `collection`, ordered by id (bytewise), with id > `after`."""
        request = RunQuery(parent=self._parent(collection))
        if filter.below == "" or limit < 1:
            return []
        query = request.structured_query
        self._select(query, collection, filter)
        if filter.at_most:
            query.order_by.add().field.field_path = quoted(filter.at_most[0])
        query.order_by.add().field.field_path = "__name__"
        query.limit.value = limit
        if after:
            query.start_at.values.add().reference_value = f"{self._root}{collection}/{after}"
        if fields is not None:
            for name in map(quoted, fields) if fields else ["__name__"]:
                query.select.fields.add().field_path = name

        async def read() -> list[Document]:
            return [self._of_json(document) for document in await self._calls.query(request)]

        documents = await self._again(read)
        self.operations.reads += max(1, len(documents))
        return documents

    async def count(self, collection: str, filter: Filter = Filter()) -> int:
        """How many documents `page` would go through."""
        request = Aggregate(parent=self._parent(collection))
        self._select(request.structured_aggregation_query.structured_query, collection, filter)
        counter = request.structured_aggregation_query.aggregations.add()
        counter.alias = "n"
        counter.count.SetInParent()

        async def read() -> int:
            answers = await self._calls.aggregate(request)
            return sum(answer.result.aggregate_fields["n"].integer_value for answer in answers if answer.HasField("result"))

        total = 0 if filter.below == "" else await self._again(read)
        self.operations.counts += 1
        self.operations.reads += max(1, math.ceil(total / 1000))
        return total

    def _parent(self, collection: str) -> str:
        check_collection(collection)
        return self._root + collection.rpartition("/")[0] if "/" in collection else self._root[:-1]

    def _select(self, query: Any, collection: str, filter: Filter) -> None:
        """Fill a StructuredQuery with what a page and a count have in common."""
        query.from_.add(collection_id=collection.rpartition("/")[2])
        if filter == Filter():
            return
        conditions = query.where.composite_filter
        conditions.op = _AND
        if filter.equals:
            name, value = filter.equals
            if value is None:
                conditions.filters.add().unary_filter.op = _IS_NULL
                conditions.filters[-1].unary_filter.field.field_path = quoted(name)
            else:
                compare(conditions, quoted(name), _EQUAL, value)
        if filter.contains:
            compare(conditions, quoted(filter.contains[0]), _ARRAY_CONTAINS, filter.contains[1])
        if filter.at_most:
            compare(conditions, quoted(filter.at_most[0]), _AT_MOST, filter.at_most[1])
        if filter.below:
            end = conditions.filters.add().field_filter
            end.field.field_path, end.op = "__name__", _LESS_THAN
            end.value.reference_value = f"{self._root}{collection}/{filter.below}"

    def _document(self, found: Any) -> Document:
        path = found.name.removeprefix(self._root)
        return Document(path, version(found.update_time), {name: value_of(value) for name, value in found.fields.items()})

    def _of_json(self, found: dict[str, Any]) -> Document:
        path = found["name"].removeprefix(self._root)
        return Document(path, version_of(found["updateTime"]), fields_of(found.get("fields", {})))

    async def _again(self, work: Callable[[], Awaitable[T]]) -> T:
        """Repeat a read until it is answered; raises Unavailable after ATTEMPTS."""
        for attempt in range(ATTEMPTS):
            try:
                return await work()
            except exceptions.GoogleAPICallError as error:
                failure = error
                if not _passing(error):
                    break
            await _pause(attempt)
        raise _unavailable(failure)

    # --- writes -------------------------------------------------------------------------------------------------------

    async def commit(self, writes: Sequence[Write]) -> list[str]:
        """Apply all writes or none; the new version of each ("" for a Delete)."""
        if len(writes) > MAX_WRITES:
            raise ValueError(f"a commit takes at most {MAX_WRITES} writes, not {len(writes)}")
        check_writes(writes)
        if not writes:
            return []
        request = Commit(database=self._database, writes=[self._write(write) for write in writes])
        versions = await self._commit(request, writes)
        self._billed(versions)
        return versions

    async def _commit(self, request: Any, writes: Sequence[Write]) -> list[str]:
        lost = False  # whether an earlier attempt may have been applied
        for attempt in range(ATTEMPTS):
            try:
                answer = await self._calls.commit(request)
                return [_written(*pair) for pair in zip(writes, answer.write_results, strict=True)]
            except _REFUSED as error:
                if not any(map(_claims, writes)) or _no_database(error):
                    raise _unavailable(error) from None
                versions = await self._read_back(writes) if lost else None
                if versions is None:
                    raise _conflict(error, writes) from None
                return versions
            except exceptions.GoogleAPICallError as error:
                failure, lost = error, True
                if not _passing(error):
                    break
            await _pause(attempt)
        raise _unavailable(failure)

    async def write_many(self, writes: Sequence[Write]) -> list[str | Conflict | Unavailable]:
        """Apply each write on its own: its new version, or the error that befell this one."""
        check_writes(writes)
        results: list[str | Conflict | Unavailable] = []
        for start in range(0, len(writes), MAX_WRITES):
            results += await self._write_each(writes[start : start + MAX_WRITES])
        self._billed([result for result in results if isinstance(result, str)])
        return results

    async def _write_each(self, writes: Sequence[Write]) -> list[str | Conflict | Unavailable]:
        found: dict[str, str | Conflict | Unavailable] = {}
        left = list(writes)
        lost, final = set[str](), set[str]()  # an earlier attempt may have been applied; trying again is no use
        for attempt in range(ATTEMPTS):
            request = BatchWrite(database=self._database, writes=[self._write(write) for write in left])
            try:
                answer = await self._calls.batch_write(request)
            except exceptions.GoogleAPICallError as error:
                found |= {write.path: _unavailable(error) for write in left}
                lost |= {write.path for write in left}
                if not _passing(error):
                    break
            else:
                for write, result, status in zip(left, answer.write_results, answer.status, strict=True):
                    if not status.code:
                        found[write.path] = _written(write, result)
                    elif status.code in _CODES and _claims(write):
                        found[write.path] = Conflict(write.path, _CODES[status.code])
                    else:
                        found[write.path] = Unavailable("firestore", f"code {status.code} {status.message}"[:MAX_DETAIL])
                        lost.add(write.path)
                        if status.code in _FINAL:
                            final.add(write.path)
            left = [write for write in left if isinstance(found[write.path], Unavailable) and write.path not in final]
            if not left:
                break
            await _pause(attempt)
        doubtful = [write for write in writes if isinstance(found[write.path], Conflict) and write.path in lost]
        for write, document in zip(doubtful, await self._read_again(doubtful), strict=True):
            if _holds(write, document):
                found[write.path] = document.version if document else ""
        return [found[write.path] for write in writes]

    async def _read_back(self, writes: Sequence[Write]) -> list[str] | None:
        """The documents' versions when a commit whose reply was lost was applied, else None. Its claims prove it: the rest of an
        atomic commit came with them, and may have been overwritten since."""
        documents = await self._read_again(writes)
        pairs = list(zip(writes, documents, strict=True))
        if not all(_holds(write, document) for write, document in pairs if _claims(write)):
            return None
        return ["" if isinstance(write, Delete) or document is None else document.version for write, document in pairs]

    async def _read_again(self, writes: Sequence[Write]) -> list[Document | None]:
        return await self.get_many([write.path for write in writes])

    def _billed(self, versions: Sequence[str]) -> None:
        deletes = sum(1 for version in versions if not version)
        self.operations.deletes += deletes
        self.operations.writes += len(versions) - deletes

    def _write(self, write: Write) -> Any:
        """The protobuf of one write."""
        made = Commit().writes.add()
        if isinstance(write, Create):
            made.current_document.exists = False
        elif write.if_version is not None:
            seconds, _, nanos = write.if_version.partition(".")
            made.current_document.update_time.seconds, made.current_document.update_time.nanos = int(seconds), int(nanos)
        if isinstance(write, Delete):
            made.delete = self._root + write.path
            return made
        made.update.name = self._root + write.path
        if isinstance(write, Merge):
            made.update_mask.SetInParent()
        for key, value in write.data.items():
            if isinstance(value, Minimum | Maximum | ArrayUnion):
                put_transform(made.update_transforms.add(field_path=quoted(key)), value)
                continue
            *parents, name = names(key)
            fields = made.update.fields
            for parent in parents:
                fields = fields[parent].map_value.fields
            put(fields[name], value)
            if isinstance(write, Merge):
                made.update_mask.field_paths.append(quoted(key))
        return made


# --- what became of a write -------------------------------------------------------------------------------------------


def _written(write: Write, result: Any) -> str:
    return "" if isinstance(write, Delete) else version(result.update_time)


def _claims(write: Write) -> bool:
    """Whether a write has a precondition: the others are blind, and repeating them is harmless."""
    return isinstance(write, Create) or write.if_version is not None


def _holds(write: Write, document: Document | None) -> bool:
    """Whether the document is as `write` leaves it."""
    if isinstance(write, Delete) or document is None:
        return isinstance(write, Delete) and document is None
    if isinstance(write, Replace) and not document.data.keys() <= write.data.keys():
        return False
    return all(_has(document.data, key, value) for key, value in write.data.items())


def _has(data: dict[str, Any], key: str, value: Any) -> bool:
    present, held = field(data, key)
    if isinstance(value, Minimum):
        return is_number(held) and held <= value.value
    if isinstance(value, Maximum):
        return is_number(held) and held >= value.value
    if isinstance(value, ArrayUnion):
        return isinstance(held, list) and all(any(same(item, one) for item in held) for one in value.values)
    return present and same(held, value)


def _conflict(error: exceptions.GoogleAPICallError, writes: Sequence[Write]) -> Conflict:
    """Firestore does not say which write was refused: it is named for certain only when one alone can be meant."""
    why: Literal["exists", "version"] = "exists" if isinstance(error, exceptions.AlreadyExists) else "version"
    meant = [write.path for write in writes if _claims(write) and isinstance(write, Create) == (why == "exists")]
    return Conflict(meant[0] if meant else writes[0].path, why)


def _no_database(error: exceptions.GoogleAPICallError) -> bool:
    """Whether NOT_FOUND speaks of the database instead of a document."""
    return isinstance(error, exceptions.NotFound) and "does not exist for project" in str(error)


def _passing(error: exceptions.GoogleAPICallError) -> bool:
    """Whether trying again may help."""
    return error.grpc_status_code is None or error.grpc_status_code.value[0] not in _FINAL


def _unavailable(error: exceptions.GoogleAPICallError) -> Unavailable:
    return Unavailable("firestore", f"{type(error).__name__} {error.message}"[:MAX_DETAIL])


async def _pause(attempt: int) -> None:
    if attempt < ATTEMPTS - 1:
        await asyncio.sleep(PAUSE * 2**attempt * random.uniform(0.5, 1.5))  # noqa: S311 - spreads load, no secret
