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

VERSION: Final = "3"  # raise it when a tab is to get more: every workbook then gets what it lacks

GUIDE: Final = (
    "1. Write the mail: a Google Doc or text file in your Drive folder. The tab Templates says whether it can go.",
    "2. Bring in your readers: paste a list into the tab Import, or put a CSV file into the folder imports. Each row is answered.",
    "3. Choose who gets it: everyone, a tag, or a rule of your own in the tab Segments, which says how many readers it holds.",
    "4. Fill in a row: the next one in Campaigns that has only an ID. Rest the pointer on a header to see what it wants.",
    "5. Test it: write your address into Test to and choose Test to me in Wanted. Then choose Preview, and read the tab Preflight.",
    "6. Send it: choose Go. Within a minute the row says what happens, what to change, or which code an approver has to type. "
    "Pause holds it, Cancel stops it for good.",
    "7. Read the results: in the row and on the Dashboard, which has the notices, too.",
    "8. Send again or put away: when a campaign has ended, choose Retry failures, Resend to non-openers or Archive.",
    "9. Make the pages yours: the tab Settings has your colour, your logo and the rules of the sign-up form, the tab Topics what readers "
    "can choose. What the pages say stands in the folder pages.",
    "Stuck? Read the Answer beside your row and the notices on the Dashboard, or ask the person who set this workbook up.",
)
_NEW: Final = {"3": GUIDE[8:9]}  # version -> lines of the guide that came with it, for workbooks that have an earlier one
GUARD: Final = "The system writes here and would overwrite your change. Copy what you need to a tab of your own."

_STATES: Final[tuple[tuple[str, Tone], ...]] = (
    *(("running", "busy"), ("scheduled", "busy"), ("paused", "waiting"), ("draft", "waiting")),
    *(("completed", "good"), ("cancelled", "bad")),
)
_IMPORTED: Final[tuple[tuple[str, Tone], ...]] = (("Imported", "good"), ("Updated", "good"), ("Rejected", "bad"))
_PREFLIGHT: Final[tuple[tuple[str, Tone], ...]] = (("Passed", "good"), ("…fault", "bad"))
_SET: Final[tuple[tuple[str, Tone], ...]] = (("In force", "good"), ("As it comes", "good"), ("…Until then", "bad"))
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


def _text(note: str, width: int) -> Column:
    """The same, of sentences."""
    return Column(0, note, width, wrap=True)


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
            180,
        ),
        "Wanted": replace(_column("Choose Go to send, Pause to hold, Cancel to stop for good.", 170), choices=console.WANTED),
        "Rate": _column("The most mails it may send: 2,000/h or 100 a minute. Blank: as fast as it goes."),
        "Hours": _column("The only hours in which it sends: 09:00-17:00 Mon-Fri. Blank: always.", 150),
        "Priority": _column("A number. Of two campaigns of which a reader may get one, the higher goes. Blank: 0.", 80),
        "Test to": _column("Who gets test mails: up to five addresses, with a comma between.", 180),
        "Public": replace(
            _column("Yes shows the mail in the public archive once it begins to go. Blank: only to who gets it.", 80),
            choices=("Yes",),
        ),
        "State": replace(_column("Where the campaign stands.", 100), colours=_STATES, guarded=True),
        "Answer": replace(_text(_ANSWER, 360), colours=(("Wanted must", "bad"), ("Still paused", "bad")), guarded=True),
        "Preflight": replace(
            _column("What was found in the mail, its audience and your domain. The tab Preflight has all of it.", 150),
            colours=_PREFLIGHT,
            guarded=True,
        ),
        **{name: replace(one, pattern="#,##0", guarded=True) for name, one in _counts(console.ROW_RESULTS).items()},
    },
    console.IMPORT: {
        "ID": _column("The row's number. Leave it.", 80),
        "Email": _column("The address of one person.", 220),
        "Name": _column("How mails greet this person. May be blank.", 160),
        "Language": _column("A code, such as en or pt-BR. May be blank."),
        "Tags": _column("Words to choose readers by, with a comma between: vip, berlin. May be blank.", 160),
        "Consent source": _column("Where this person agreed to get mail: Book fair 2026. Without it the row is rejected.", 180),
        "Answer": replace(_text(_ANSWER, 360), colours=_IMPORTED, guarded=True),
    },
    console.SEGMENTS: {
        "Name": _column("What you call the segment. Campaigns name it in Segment.", 160),
        "Rule": _column("Who belongs to it.", 360),
        "Readers": replace(_column("How many readers it holds."), pattern="#,##0", guarded=True),
        "Answer": replace(_text(_ANSWER, 360), guarded=True),
    },
    console.RESULTS: {
        "ID": _column("The campaign's row.", 80),
        "State": replace(_column("Where the campaign stands."), colours=_STATES),
        "Answer": _text("What its row says.", 360),
        "Answered": _column("When its row last answered.", 150),
        **_counts(console.RESULT_FIELDS),
    },
    console.DASHBOARD: {
        "What": _column("What is counted.", 200),
        "Now": _column("How many there are now.", 180),
        "By people": _column("What readers did, as far as we can tell.", 180),
        "By all, robots included": _column("The same with mail programs and scanners.", 210),
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
        "Since": _column("When this person came to the list.", 150),
    },
    console.SUPPRESSIONS: {
        "Subscriber": _column("The first letters of the subscriber's id."),
        "Reason": _column("Why this person gets no mail.", 140),
        "Since": _column("Since when.", 150),
        "Source": _column("Who told us.", 160),
        "In their words": _text("What a reader who left chose as the reason, and wrote about it. Addresses are left out.", 320),
    },
    console.ACTIVITY: {"When": _column("In this workbook's time zone.", 150), "What": _text("What happened.", 640)},
    console.PROVIDERS: {
        "Name": _column("The way out for mail, as it is set up.", 120),
        "Kind": _column("Whose service it is."),
        "State": replace(_text("What it does now.", 320), colours=(("ready", "good"), ("warm", "busy"), ("down", "bad"))),
        "Sent today": _column("Mails since midnight UTC."),
        "Daily limit": _column("The most mails a day."),
        "Rate": _column("The most mails a second."),
        "Waiting": _column("Mails that wait for room."),
        "Goes out by": _column("When the last of those is expected to go.", 150),
    },
    console.REPORTS: {
        "Campaign": _column("The campaign's row."),
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
        "Answer": _text("What its row says.", 360),
    },
    console.TEMPLATES: {
        "Template": _column("The file with its folder. Its name without the ending goes into Campaigns.", 200),
        "Kind": _column("What it is written in."),
        "Language": _column("What it is in, as its name says, or else as your brand is."),
        "Subject": _text("The mail's subject. Blank: the Subject of the campaign's row has to say it.", 240),
        "Changed": _column("When the file was last changed, in this workbook's time zone.", 150),
        "Variables": _text("What it says of a reader.", 160),
        "Problem": _text("Why it cannot be sent, and what to change. Blank: it can.", 360),
        "Used by": _column("The newest campaign with it. Of the system's own mails: whether it is in use.", 140),
        "File": _column("Where it is in Drive.", 240),
    },
    console.SETTINGS: {
        "Setting": _column("What can be set. Leave it; sort the rows as you like.", 220),
        "Value": replace(_column("What you choose. Blank: as the product comes.", 280), wrap=True),
        "What it does": replace(_text("What it is for, and what to write.", 440), guarded=True),
        "Answer": replace(_text(_ANSWER, 360), colours=_SET, guarded=True),
    },
    console.TOPICS: {
        "Tag": _column("The tag that readers get or lose by their choice, such as events.", 140),
        "Label": _column("What readers see beside the box. The order of the rows is the order on the page.", 200),
        "About": _text("One sentence below it for readers. May be blank.", 360),
        "Answer": replace(_text(_ANSWER, 360), colours=_SET, guarded=True),
    },
    console.SETTING_RESULTS: {
        "Setting": _column("What can be set.", 220),
        "What it does": _text("What it is for.", 440),
        "Answer": _text("What its row says.", 360),
    },
    console.TOPIC_RESULTS: {
        "Tag": _column("The topic.", 140),
        "Answer": _text("What its row says.", 360),
    },
    console.PREFLIGHT: {
        "Campaign": _column("The campaign's row."),
        "When": _column("When it was looked at, in this workbook's time zone.", 150),
        "Result": replace(
            _column("A fault stops the mail. A warning is worth a look. A note says what was not looked at.", 80),
            colours=(("Passed", "good"), ("Fault", "bad"), ("Warning", "waiting")),
        ),
        "Sentence": _text("What was found, and what to do.", 640),
        "Preflight": replace(_column("In short, as Campaigns shows it.", 150), colours=_PREFLIGHT),
    },
    console.IMPORT_RESULTS: {
        "ID": _column("The row of Import, or the line of a file.", 180),
        "Answer": replace(_text("Its answer. Of files only the rejected lines are here.", 420), colours=_IMPORTED),
    },
    console.IMPORTS: {
        "File": _column("A CSV file in the folder imports.", 220),
        "Rows": _column("Contacts in the file."),
        "Done": _column("How many of them have been read in."),
        "Imported": _column("Contacts that are new on the list."),
        "Updated": _column("Contacts that were on the list before."),
        "Rejected": _column("Contacts that were not taken. Import results says why."),
        "State": replace(
            _text("How far it is, or what to change in the file.", 420),
            colours=(("Done", "good"), ("Running", "busy"), ("Not imported", "bad"), ("Stopped", "bad")),
        ),
        "Finished at": _column("When it was done.", 150),
    },
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
_FORMS: Final = dict.fromkeys((console.CAMPAIGNS, console.IMPORT, console.SEGMENTS, console.SETTINGS, console.TOPICS), (1, 1))
_HIDDEN: Final = (console.SEGMENT_RESULTS, console.SETTING_RESULTS, console.TOPIC_RESULTS)  # their answers stand beside the rows


def due(book: Workbook, tabs: Mapping[str, Sequence[Sequence[str]]]) -> dict[str, Look]:
    """Tab -> its look, of those that do not wear VERSION; {} when all do. `tabs`: the rows of each, with the header in the first.

    The guide is made with a workbook that was never dressed, so that it stays away when a person throws it away, and so do lines of it.
    """
    found: dict[str, Look] = {}
    worn = book.looks.get(console.START, "0")
    if worn != VERSION and (console.START in book.tabs or not book.looks):
        before = int(worn) if worn.isdecimal() else 0
        fresh = tuple(line for version, lines in _NEW.items() if before < int(version) for line in lines)
        found[console.START] = Look((Column(1, width=880, wrap=True),), first=True, lines=GUIDE, fresh=fresh)
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
            hidden=tab in _HIDDEN,
            charts=_CHARTS if tab == console.DASHBOARD else (),
        )
    return found
