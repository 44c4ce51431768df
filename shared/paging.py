"""A whole collection, or all of it that fits, page by page."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from typing import Final

from shared.ports import Document, Filter, Store

PAGE: Final = 300  # documents of a page


async def every(
    store: Store, collection: str, filter: Filter = Filter(), fields: Sequence[str] | None = None, after: str = ""
) -> AsyncIterator[Document]:
    """The documents in the order of their ids, those behind the id `after`; arguments and errors as of `Store.page`, of which it makes one
    call for PAGE documents."""
    while True:
        page = await store.page(collection, filter, after, PAGE, fields=fields)
        for document in page:
            yield document
        if len(page) < PAGE:
            return
        after = page[-1].id
