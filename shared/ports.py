"""The small async Protocols between the steps and the world. Each has one adapter per technology in `shared/adapters`
(senders in `shared/providers`), and one contract suite in `tests/contract` that runs on every implementation.

The Store follows what Firestore offers without transactions: documents at slash-separated paths, conditional atomic
commits of up to 500 writes, order-free transforms, pages ordered by document id. Times are integers: milliseconds since the
Unix epoch, because Firestore's Minimum and Maximum apply to numbers only.
"""

from __future__ import annotations

import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple, Protocol, TypeAlias

from shared.errors import Conflict, Unavailable
from shared.model.look import Look

Value: TypeAlias = "bool | int | float | str | bytes | Expiry | list[Any] | dict[str, Any] | None"
Data: TypeAlias = Mapping[str, Any]  # field -> Value, or a transform (Minimum, Maximum, ArrayUnion) in a write

MAX_WRITES = 500  # Firestore's limit for one commit
MAX_VERSIONS = 5  # of a secret that are valid at once, for sure
SECRET_AGE = 300_000  # ms from one refresh of a secret to the next
HAND_OVER = 2 * SECRET_AGE  # ms until every process knows another version: twice, so that one refresh may fail


# --- Store ------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Expiry:
    """When a document may go by itself: a value that Firestore keeps as a timestamp, the only kind that its TTL policies take
    (https://cloud.google.com/firestore/docs/ttl; terraform/firestore.tf says which fields). It goes a day later at most; the embedded
    store keeps it."""

    at: int  # milliseconds since the Unix epoch


@dataclass(frozen=True, slots=True)
class Minimum:
    """Set the field to the smaller of its value and `value`; to `value` when absent or not a number."""

    value: int | float


@dataclass(frozen=True, slots=True)
class Maximum:
    """Set the field to the larger of its value and `value`; to `value` when absent or not a number."""

    value: int | float


@dataclass(frozen=True, slots=True)
class ArrayUnion:
    """Append the values that the array does not hold yet; an absent or non-array field counts as an empty array."""

    values: tuple[Any, ...]


@dataclass(frozen=True, slots=True)
class Create:
    """Write a document that must not exist yet (Conflict "exists")."""

    path: str
    data: Data


@dataclass(frozen=True, slots=True)
class Merge:
    """Write the given fields and keep the others; without `if_version` the document is made when absent.

    A key is a field path: `"a.b"` sets `b` inside the map `a` and keeps its neighbours; a value replaces the whole field, maps
    included. `if_version` must be the version last read (Conflict "version", also when the document is gone).
    """

    path: str
    data: Data
    if_version: str | None = None


@dataclass(frozen=True, slots=True)
class Replace:
    """Make the document exactly `data`, whatever it held; without `if_version` it is made when absent. The only write that takes fields
    away. As in Create, a key is a name and not a field path."""

    path: str
    data: Data
    if_version: str | None = None


@dataclass(frozen=True, slots=True)
class Delete:
    """Remove a document; an absent one is no error unless `if_version` is given."""

    path: str
    if_version: str | None = None


Write: TypeAlias = "Create | Merge | Replace | Delete"


@dataclass(frozen=True, slots=True)
class Document:
    """One stored document as read. `version` is opaque and changes with every write that changes the document."""

    path: str
    version: str
    data: dict[str, Any]

    @property
    def id(self) -> str:
        return self.path.rpartition("/")[2]


@dataclass(frozen=True, slots=True)
class Filter:
    """What `page` and `count` select: at most one equality, at most one array membership, ids below `below` (exclusive).

    `at_most`: a number field that is there and at most this. It stands alone; the page then begins with the smallest (then by id), and
    takes no `after`: whoever works through it changes the field.
    """

    equals: tuple[str, Value] | None = None
    contains: tuple[str, Value] | None = None
    below: str | None = None
    at_most: tuple[str, int] | None = None


class Store(Protocol):
    """Documents. Raises Conflict for a failed precondition, Unavailable when the service does not answer.

    After Unavailable or Conflict a write of ours may still have been applied (its reply lost): read back before acting on it.
    """

    async def get(self, path: str, fields: Sequence[str] | None = None) -> Document | None:
        """The document, cut to `fields` (top-level names; None means all), or None."""
        ...

    async def get_many(self, paths: Sequence[str], fields: Sequence[str] | None = None) -> list[Document | None]:
        """As `get`, in the order of `paths`; any number of them."""
        ...

    async def page(
        self,
        collection: str,
        filter: Filter = Filter(),
        after: str = "",
        limit: int = 300,
        fields: Sequence[str] | None = None,
    ) -> list[Document]:
        """Up to `limit` documents directly in `collection`, ordered by id (bytewise), with id > `after`."""
        ...

    async def count(self, collection: str, filter: Filter = Filter()) -> int:
        """How many documents `page` would go through."""
        ...

    async def commit(self, writes: Sequence[Write]) -> list[str]:
        """Apply all writes or none (at most MAX_WRITES, each path at most once); the new version of each ("" for a Delete)."""
        ...

    async def write_many(self, writes: Sequence[Write]) -> list[str | Conflict | Unavailable]:
        """Apply each write on its own: its new version, or the error that befell this one. Each path at most once."""
        ...


# --- Bus, Objects, Secrets, Clock, Geo --------------------------------------------------------------------------------


class Bus(Protocol):
    """Topics with at-least-once, unordered push delivery (Pub/Sub)."""

    async def publish(self, topic: str, messages: Sequence[Mapping[str, Any]]) -> None:
        """Hand JSON messages to a topic; returns when all are durable. Raises Unavailable; then some may have been accepted."""
        ...

    async def check(self) -> None:
        """Return when a publish would be accepted now; raises Unavailable."""
        ...


class Objects(Protocol):
    """Immutable blobs (a folder, or Cloud Storage). A name tells the content ("mails/{sha256}"). Raises Unavailable."""

    async def put(self, name: str, data: bytes) -> None:
        """Keep a blob; durable when it returns. Putting it again is harmless."""
        ...

    async def get(self, name: str) -> bytes:
        """The blob; raises NotFound."""
        ...

    async def list(self, prefix: str) -> Sequence[str]:
        """The names that begin with `prefix`, which ends in a slash, in their order."""
        ...

    async def delete(self, name: str) -> None:
        """Take a blob away, with what was kept of it before. One that is not there is no error."""
        ...


@dataclass(frozen=True, slots=True)
class Secret:
    """One version of a secret. `created`: milliseconds since the Unix epoch, 0 when nobody noted it."""

    value: bytes = field(repr=False)
    created: int = 0


class Secrets(Protocol):
    """Named secrets with versions. Cheap to ask again and again: what is read is kept, and asked for again after SECRET_AGE."""

    async def get(self, name: str) -> list[Secret]:
        """The valid versions, newest first (at least the newest MAX_VERSIONS), as they were less than HAND_OVER ago.

        Raises ConfigError when there is none, Unavailable when that cannot be known.
        """
        ...


class Clock(Protocol):
    """Time, injectable."""

    def now(self) -> int:
        """Milliseconds since the Unix epoch."""
        ...


@dataclass(frozen=True, slots=True)
class Location:
    """Where somebody probably is: `country` ISO 3166-1 alpha-2, `city` an English name, `zone` IANA; each "" when not known."""

    country: str = ""
    city: str = ""
    zone: str = ""


RecordKind: TypeAlias = Literal["TXT", "NS", "MX", "A", "AAAA"]


class Dns(Protocol):
    """Looks DNS records up."""

    async def records(self, name: str, kind: RecordKind) -> list[str]:
        """The records' texts; [] when the name or such a record is not there. Raises Unavailable when no answer came."""
        ...


class Geo(Protocol):
    """Locations of IP addresses, from memory."""

    def locate(self, address: str) -> Location:
        """Never raises: private, reserved, malformed and unknown addresses are nowhere (`Location()`)."""
        ...


# --- Sheet and Drive --------------------------------------------------------------------------------------------------

Rows: TypeAlias = "Sequence[Sequence[str | int | float | bool]]"


@dataclass(frozen=True, slots=True)
class Workbook:
    """A spreadsheet's properties: IANA time zone, tab title -> numeric sheet id, tab title -> version of the look that it wears."""

    zone: str
    tabs: dict[str, int]
    looks: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Protection:
    """A part of a tab that not everybody may edit. `place`: top, left (from 0), bottom, right (exclusive, None is open). `hard`: others are
    kept out, not only warned. `editors`: the addresses of all who may, in small letters; None when they cannot be told one by one."""

    place: tuple[int, int, int | None, int | None]
    hard: bool
    editors: frozenset[str] | None = None


@dataclass(frozen=True, slots=True)
class Guarded:
    """A tab's rows as displayed and, cell by cell, as text that somebody typed: "" for what a formula shows, there or from another cell;
    and its protections at that moment."""

    id: int  # of the tab, whatever it is called
    shown: list[list[str]]
    typed: list[list[str]]
    protections: tuple[Protection, ...] = ()


class Sheet(Protocol):
    """One workbook. Ranges are A1 notation with the tab's title ("Results!A2:F"). Raises Unavailable, NotFound, BadInput."""

    async def workbook(self) -> Workbook: ...

    async def add_tabs(self, titles: Sequence[str], columns: Mapping[str, int] | None = None) -> None:
        """Make the tabs that do not exist yet; one frozen header row each, and so many columns, 26 where `columns` does not say."""
        ...

    async def read(self, ranges: Sequence[str]) -> list[list[list[str]]]:
        """For each range its rows as displayed text; trailing empty cells and rows are left out, as Sheets does."""
        ...

    async def guarded(self, tabs: Sequence[str]) -> dict[str, Guarded]:
        """Tab -> its cells and protections, all at one moment."""
        ...

    async def write(self, updates: Mapping[str, Rows], *, formulas: bool = False) -> None:
        """Write cells in one call. Values go in RAW; `formulas=True` is for formulas of our own (USER_ENTERED)."""
        ...

    async def append(self, tab: str, rows: Rows) -> None:
        """Add rows (RAW) below the last filled row of a tab."""
        ...

    async def clear(self, ranges: Sequence[str]) -> None: ...

    async def dress(self, looks: Mapping[str, Look], version: str) -> None:
        """Give tabs their looks in one call that writes, all or nothing; from then on `workbook` says that they wear `version`.

        Only what is absent is added: a note, width, dropdown, format, protection, freeze, banding, colour rule or chart that is
        there stays. A tab that is not there is made when its look has `lines`, else left out; one that is gets rows for those that are
        `fresh`.
        """
        ...


DOCUMENT = "application/vnd.google-apps.document"  # the `mime` of a Google Doc


@dataclass(frozen=True, slots=True)
class File:
    """A Drive file. `version` grows with every change; `modified` is RFC 3339; `md5` is "" and `size` 0 for Google Docs. `folder` is
    where it is below the folder listed: "" for its top, "news", "news/spring"."""

    id: str
    name: str
    mime: str
    version: str
    modified: str
    md5: str
    size: int  # bytes
    folder: str = ""


class Drive(Protocol):
    """Files people keep in a folder. Raises Unavailable, NotFound, BadInput."""

    async def list(self, folder: str) -> list[File]:
        """All files in the folder and in those inside that are not in the bin, by folder and name: the top first."""
        ...

    async def download(self, file: str) -> bytes:
        """The content; a Google Doc's as the HTML that Google makes of it."""
        ...

    async def edited(self, file: str) -> tuple[str, str]:
        """Who changed a file last, by address ("" when that is not shown), and its version."""
        ...


# --- Sender -----------------------------------------------------------------------------------------------------------

Kind: TypeAlias = Literal["sent", "recipient", "message", "throttle", "temporary", "ours", "down", "unknown", "unsent"]
Pieces: TypeAlias = "tuple[str | int, ...]"  # fixed text, and numbers of values (see `Outgoing.values`) in between


@dataclass(frozen=True, slots=True)
class Letter:
    """One rendering of a mail, for a provider that makes the MIME itself and puts each recipient's values in.

    `html` is () for a mail of text only. `headers` are those beyond From, Reply-To, To, Subject and Date; the values in them are
    header text. Every value is ready for where it stands (escaped in HTML), so that a provider must not escape it again.
    """

    from_name: str
    from_address: str
    reply_to: str  # "" for none
    subject: Pieces
    text: Pieces
    html: Pieces
    headers: Mapping[str, Pieces]


@dataclass(frozen=True, slots=True)
class Attachment:
    """A file that goes with one mail. `name` and `kind`, its media type without parameters, are plain ASCII; text is in UTF-8."""

    name: str
    kind: str
    data: bytes = field(repr=False)


class Outgoing(NamedTuple):
    """One mail. For a sender of the form "wire" `data` is its bytes: CRLF line ends, dot-stuffed, ending in CRLF, without the final
    lone dot. For one of the form "letter" there are `letter`, the same object for all mails that share it, `values`, and `attachments`,
    few and small, which must not get lost."""

    recipient: str  # envelope address; ASCII (IDNA domain), or UTF-8 where the sender takes SMTPUTF8
    data: bytes = b""
    return_path: str = ""  # where its bounces go, when not to the `envelope_from` of all
    ref: str = ""  # MailRef.text: tells this mail from every other; a provider keeps it as metadata, or as idempotency key
    letter: Letter | None = None
    values: tuple[str, ...] = ()
    attachments: tuple[Attachment, ...] = ()


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of one mail.

    sent: accepted · recipient: this address is refused (`hard`: for good) · message: the content is refused · throttle,
    temporary: later may work · ours: our configuration or reputation · down: definitely not handed over · unknown: the
    connection was lost after the content; never resend · unsent: not begun, because it was time to stop. `code` is the provider's
    code ("550 5.1.1"), never free text, which may hold addresses.
    """

    kind: Kind
    code: str = ""
    hard: bool = False


class Stop:
    """When no more mails are to be begun: a moment, or the word of whoever ends the process."""

    def __init__(self, at: float = math.inf) -> None:
        """`at`: on the scale of `time.monotonic`, in seconds."""
        self.at = at

    def now(self) -> None:
        """From now on."""
        self.at = 0.0

    @property
    def come(self) -> bool:
        """Whether it is time."""
        return time.monotonic() >= self.at


class Sender(Protocol):
    """A way out for mail. `window`: most mails of one `send`; `form`: what it takes (see Outgoing)."""

    window: int

    @property
    def form(self) -> Literal["wire", "letter"]: ...

    async def ready(self) -> None:
        """Connect and authenticate ahead, so that a dead provider costs no `unknown`. Raises Unavailable; Denied for what an "ours"
        would say."""
        ...

    async def send(self, envelope_from: str, mails: Sequence[Outgoing], stop: Stop | None = None) -> list[Outcome]:
        """Hand over; one outcome per mail, in order. Never raises for what a provider or network does.

        Once `stop` has come no further mail is begun: those left are "unsent".
        """
        ...

    async def close(self) -> None: ...
