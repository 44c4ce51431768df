"""How the workbook looks: what each header asks for or tells, choices, colours, warnings on what the system writes, charts, a guide.

A tab is dressed once for each VERSION, and only with what it lacks (see Sheet.dress): what people changed stays. Counts in the system's
tabs have no number format, because the handler compares what is shown there with what it would write.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Final

from shared.model import console
from shared.model.look import Chart, Column, Look, Tone
from shared.model.subscriber import REASONS
from shared.ports import Workbook

VERSION: Final = "1"  # raise it when a tab is to get more: every workbook then gets what it lacks

GUIDE: Final = (
    "1. Write a template: a text file in the Drive folder that was shared with you. Its name without the ending goes into Campaigns.",
    "2. Fill in a row in the Campaigns tab. Rest the pointer on a header to see what it wants.",
    "3. Choose Go in the column Wanted. Within a minute the row answers what happens, or what to change.",
    "4. Watch the Dashboard and the row itself. Choose Pause to hold a campaign, Cancel to stop it for good.",
    "5. Stuck? Read the Answer beside your row and the notices on the Dashboard, or ask the person who set this workbook up.",
)
GUARD: Final = "The system writes here and would overwrite your change. Copy what you need to a tab of your own."

_STATES: Final[tuple[tuple[str, Tone], ...]] = (
    *(("running", "busy"), ("scheduled", "busy"), ("paused", "waiting"), ("draft", "waiting")),
    *(("completed", "good"), ("cancelled", "bad")),
)
_IMPORTED: Final[tuple[tuple[str, Tone], ...]] = (("Imported", "good"), ("Updated", "good"), ("Rejected", "bad"))
_COUNTS: Final[dict[str, str]] = {
    "Expected": "Readers counted when the campaign began.",
    "Recipients": "Readers that the campaign took up.",
    "Sent": "Mails handed over to a provider.",
    "Failed": "Mails that a provider refused.",
    "Suppressed": "Readers who had left, bounced or complained.",
    "Skipped": "Readers who left the segment, joined too late or had enough mails.",
    "Cancelled": "Mails that did not go, because somebody chose Cancel.",
    "Unknown": "Mails that may have gone: they are not sent again.",
    "Deferred": "Mails that still wait for a provider.",
    "Delivered": "Mails that a provider told us have arrived.",
    "Opened": "Readers who opened the mail.",
    "Opened by machines": "Mails that only a mail program or scanner opened.",
    "Clicked": "Readers who clicked a link.",
    "Bounced": "Mails that came back.",
    "Complained": "Readers who marked the mail as spam.",
    "Unsubscribed": "Readers who left after this mail.",
    "Opened, robots included": "Mails opened by people or machines.",
    "Clicked by machines": "Mails in which only a machine followed a link.",
    "Clicked, robots included": "Mails in which people or machines followed a link.",
    "Bounced for good": "Addresses that do not exist: they get no more mail.",
    "Bounced softly": "Mails that came back for the time being, such as from a full mailbox.",
    "Converted": "Readers who did on your site what the mail asked for.",
}
_ANSWER: Final = "What the system made of the row, or what to change in it."


def _column(note: str, width: int = 0) -> Column:
    """One whose place depends on the header."""
    return Column(0, note, width)


def _counts(names: Sequence[str]) -> dict[str, Column]:
    return {name: _column(_COUNTS[name]) for name in names if name in _COUNTS}


_COLUMNS: Final[dict[str, dict[str, Column]]] = {
    console.CAMPAIGNS: {
        "ID": _column("The row's number. Leave it; sort the rows as you like.", 80),
        "Name": _column("What you call the campaign. Readers do not see it.", 180),
        "Template": _column("A file of the template folder, without its ending: newsletter", 140),
        "Subject": _column("The mail's subject. Blank: the one that the template says.", 240),
        "Segment": _column("Who gets it: a tag, such as vip. Blank: everyone.", 120),
        "Schedule": _column(
            "When it goes, in this workbook's time zone. Blank: now. 2026-12-31 09:30. With local behind it: at that time where each "
            "reader is. With best hour: when each reader clicks.",
            150,
        ),
        "Wanted": replace(_column("Choose Go to send, Pause to hold, Cancel to stop for good.", 170), choices=console.WANTED),
        "Rate": _column("The most mails it may send: 2,000/h or 100 a minute. Blank: as fast as it goes."),
        "Hours": _column("The only hours in which it sends: 09:00-17:00 Mon-Fri. Blank: always.", 150),
        "Priority": _column("A number. Of two campaigns of which a reader may get one, the higher goes. Blank: 0.", 80),
        "Test to": _column("Who gets test mails: up to five addresses, with a comma between.", 180),
        "State": replace(_column("Where the campaign stands.", 100), colours=_STATES, guarded=True),
        "Answer": replace(_column(_ANSWER, 360), colours=(("Wanted must", "bad"), ("Still paused", "bad")), guarded=True),
        **{name: replace(one, pattern="#,##0", guarded=True) for name, one in _counts(console.ROW_RESULTS).items()},
    },
    console.IMPORT: {
        "ID": _column("The row's number. Leave it.", 80),
        "Email": _column("The address of one person.", 220),
        "Name": _column("How mails greet this person. May be blank.", 160),
        "Language": _column("A code, such as en or pt-BR. May be blank."),
        "Tags": _column("Words to choose readers by, with a comma between: vip, berlin. May be blank.", 160),
        "Consent source": _column("Where this person agreed to get mail: Book fair 2026. Without it the row is rejected.", 180),
        "Answer": replace(_column(_ANSWER, 360), colours=_IMPORTED, guarded=True),
    },
    console.SEGMENTS: {
        "Name": _column("What you call the segment. Campaigns name it in Segment.", 160),
        "Rule": _column("Who belongs to it.", 360),
        "Readers": replace(_column("How many readers it holds."), pattern="#,##0", guarded=True),
        "Answer": replace(_column(_ANSWER, 360), guarded=True),
    },
    console.RESULTS: {
        "ID": _column("The campaign's row.", 80),
        "State": replace(_column("Where the campaign stands."), colours=_STATES),
        "Answer": _column("What its row says.", 360),
        "Answered": _column("When its row last answered.", 130),
        **_counts(console.RESULT_FIELDS),
    },
    console.DASHBOARD: {
        "What": _column("What is counted.", 200),
        "Now": _column("How many there are now.", 180),
        "By people": _column("What readers did, as far as we can tell.", 180),
        "By all, robots included": _column("The same with mail programs and scanners.", 180),
    },
    console.SUBSCRIBERS: {
        "Subscriber": _column("The first letters of the subscriber's id."),
        "Address": _column("The address, partly hidden.", 180),
        "Name": _column("How mails greet this person.", 160),
        "Language": _column("The language that this person asked for."),
        "Country": _column("Where this person is, as far as known."),
        "Status": replace(
            _column("Whether this person gets mail, or why not.", 160),
            colours=(("confirmed", "good"), ("waiting", "waiting"), ("complaint", "bad"), ("hard bounce", "bad")),
        ),
        "Tags": _column("The words that segments choose by.", 160),
        "Since": _column("When this person came to the list.", 130),
    },
    console.SUPPRESSIONS: {
        "Subscriber": _column("The first letters of the subscriber's id."),
        "Reason": _column("Why this person gets no mail.", 140),
        "Since": _column("Since when.", 130),
        "Source": _column("Who told us.", 160),
    },
    console.ACTIVITY: {"When": _column("In this workbook's time zone.", 130), "What": _column("What happened.", 640)},
    console.PROVIDERS: {
        "Name": _column("The way out for mail, as it is set up.", 120),
        "Kind": _column("Whose service it is."),
        "State": replace(_column("What it does now.", 320), colours=(("ready", "good"), ("warm", "busy"), ("down", "bad"))),
        "Sent today": _column("Mails since midnight UTC."),
        "Daily limit": _column("The most mails a day."),
        "Rate": _column("The most mails a second."),
        "Waiting": _column("Mails that wait for room."),
        "Goes out by": _column("When the last of those is expected to go.", 130),
    },
    console.REPORTS: {
        "Campaign": _column("The campaign's row.", 80),
        "Name": _column("What you call the campaign.", 180),
        "Breakdown": _column("By what its readers are divided."),
        "Value": _column("Which part of them this row is about.", 240),
        **_counts(console.REPORT_FIELDS),
        "Conversions": _column("How often readers did on your site what the mail asked for."),
        "Revenue": _column("What those brought in, in the currency beside it."),
        "Currency": _column("The currency of the revenue."),
    },
    console.SEGMENT_RESULTS: {
        "Name": _column("The segment.", 160),
        "Readers": _column("How many readers it holds."),
        "Answer": _column("What its row says.", 360),
    },
    console.IMPORT_RESULTS: {"ID": _column("The row of Import.", 80), "Answer": _column("Its answer.", 360)},
}


def _at(*names: str) -> tuple[int, ...]:
    return tuple(console.RESULT_FIELDS.index(name) + 1 for name in names)


_PEOPLE: Final = 2 + len(REASONS)  # rows of the Dashboard: mailable, waiting, and a kind for each reason to get no mail
_CHARTS: Final = (
    Chart(
        "From sent to clicked, by campaign",
        "COLUMN",
        console.RESULTS,
        1,
        _at("Sent", "Delivered", "Opened", "Clicked"),
        1,
        0,
        2,
        6,
    ),
    Chart(
        "What went wrong, by campaign",
        "COLUMN",
        console.RESULTS,
        1,
        _at("Failed", "Bounced", "Complained", "Unsubscribed"),
        1,
        0,
        2,
        12,
    ),
    Chart("People on the list", "COLUMN", console.DASHBOARD, 1, (2,), 1, 1 + _PEOPLE, 18, 6),
    Chart("Campaigns", "PIE", console.DASHBOARD, 1, (2,), 2 + _PEOPLE, 6 + _PEOPLE, 18, 12),
    Chart("Sent today, by provider", "PIE", console.PROVIDERS, 1, (4,), 2, 0, 34, 6),
)
# Tabs that people fill in: rows and columns that stay in sight.
_FORMS: Final = dict.fromkeys((console.CAMPAIGNS, console.IMPORT, console.SEGMENTS), (1, 1))


def due(book: Workbook, tabs: Mapping[str, Sequence[Sequence[str]]]) -> dict[str, Look]:
    """Tab -> its look, of those that do not wear VERSION; {} when all do. `tabs`: the rows of each, with the header in the first.

    The guide is made with a workbook that was never dressed, so that it stays away when a person throws it away.
    """
    found: dict[str, Look] = {}
    if book.looks.get(console.START) != VERSION and (console.START in book.tabs or not book.looks):
        found[console.START] = Look((Column(1, width=1040),), first=True, lines=GUIDE)
    for tab, rows in tabs.items():
        if book.looks.get(tab) == VERSION:
            continue
        header = [cell.strip() for cell in rows[0]] if rows else []
        named = _COLUMNS.get(tab, {})
        columns = tuple(replace(named[name], at=at) for at, name in enumerate(header, 1) if name in named)
        ours = tab in _COLUMNS and (tab not in _FORMS or any(column.guarded for column in columns))
        found[tab] = Look(
            columns,
            frozen=_FORMS.get(tab, (1, 0)),
            guard=GUARD if ours else "",
            banded=True,
            hidden=tab in (console.IMPORT_RESULTS, console.SEGMENT_RESULTS),  # their answers stand beside the rows
            charts=_CHARTS if tab == console.DASHBOARD else (),
        )
    return found
