"""The workbook's tabs and columns, as launch reads them and sync_sheet keeps them.

People own the columns on the left of Campaigns and Import; every other tab belongs to the system. Rows are bound by the id in
their first column and columns by their header, so both may be moved.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from shared.errors import BadInput

START: Final = "Start here"
CAMPAIGNS: Final = "Campaigns"
IMPORT: Final = "Import"
RESULTS: Final = "Results"
IMPORT_RESULTS: Final = "Import results"
IMPORTS: Final = "Imports"
SUBSCRIBERS: Final = "Subscribers"
SUPPRESSIONS: Final = "Suppressions"
DASHBOARD: Final = "Dashboard"
ACTIVITY: Final = "Activity"
TEAM: Final = "Team"  # of a workbook in which campaigns need approval
TEAM_FIELDS: Final = ("Email", "Role")
APPROVER: Final = "Approver"  # a role
APPROVED: Final = "Approved"  # the column of Campaigns in which such people write

ROW_FIELDS: Final = ("ID", "Name", "Template", "Subject", "Segment", "Schedule", "Wanted")
# A tab without one of these columns is as good as one that leaves it blank.
ROW_OPTIONS: Final = ("Rate", "Hours", "Priority", "Test to", "Public")
ROW_RESULTS: Final = (
    "State",
    "Answer",
    "Preflight",
    "Expected",
    "Sent",
    "Failed",
    "Opened",
    "Clicked",
    "Unsubscribed",
)  # by lookup
IMPORT_FIELDS: Final = ("ID", "Email", "Name", "Language", "Tags", "Consent source")
IMPORT_ANSWERS: Final = ("Answer",)  # by lookup
IMPORTS_FIELDS: Final = ("File", "Rows", "Done", "Imported", "Updated", "Rejected", "State", "Finished at")
RESULT_FIELDS: Final = (
    "ID",
    "State",
    "Answer",
    "Answered",
    "Expected",
    "Recipients",
    "Sent",
    "Failed",
    "Suppressed",
    "Skipped",
    "Cancelled",
    "Unknown",
    "Deferred",
    "Delivered",
    "Opened",
    "Opened by machines",
    "Clicked",
    "Bounced",
    "Complained",
    "Unsubscribed",
    "Opened, robots included",
    "Clicked by machines",
    "Clicked, robots included",
    "Bounced for good",
    "Bounced softly",
    "Converted",
)
RETRY: Final = "Retry failures"
RESEND: Final = "Resend to non-openers"
TEST: Final = "Test to me"
PREVIEW: Final = "Preview"
DUPLICATE: Final = "Duplicate"
ARCHIVE: Final = "Archive"
WANTED: Final = ("Draft", "Go", "Pause", "Cancel", RETRY, RESEND, TEST, PREVIEW, DUPLICATE, ARCHIVE)
COMMANDS: Final = frozenset(word.lower() for word in WANTED[4:])  # done once, when Wanted changes to them; the others are states
SEGMENTS: Final = "Segments"
SEGMENT_RESULTS: Final = "Segment results"
SEGMENT_FIELDS: Final = ("Name", "Rule")
SEGMENT_ANSWERS: Final = ("Readers", "Answer")  # by lookup
SETTINGS: Final = "Settings"
SETTING_RESULTS: Final = "Setting results"
SETTING_FIELDS: Final = ("Setting", "Value")
SETTING_ANSWERS: Final = ("What it does", "Answer")  # by lookup
TOPICS: Final = "Topics"
TOPIC_RESULTS: Final = "Topic results"
TOPIC_FIELDS: Final = ("Tag", "Label", "About")
TOPIC_ANSWERS: Final = ("Answer",)  # by lookup
TEMPLATES: Final = "Templates"
TEMPLATE_FIELDS: Final = ("Template", "Kind", "Language", "Subject", "Changed", "Variables", "Problem", "Used by", "File")
PREFLIGHT: Final = "Preflight"
PREFLIGHT_FIELDS: Final = ("Campaign", "When", "Result", "Sentence", "Preflight")  # the last by lookup in Campaigns
PROVIDERS: Final = "Providers"
PROVIDER_FIELDS: Final = ("Name", "Kind", "State", "Sent today", "Daily limit", "Rate", "Waiting", "Goes out by")

REPORTS: Final = "Reports"
REPORT_FIELDS: Final = (
    *("Campaign", "Name", "Breakdown", "Value", "Sent", "Opened", "Opened by machines", "Clicked", "Bounced", "Complained"),
    *("Unsubscribed", "Conversions", "Revenue", "Currency"),
)


def table(rows: Sequence[Sequence[str]], tab: str, fields: Sequence[str], options: Sequence[str] = ()) -> list[dict[str, str]]:
    """The rows below the header as field -> trimmed text, in order; other columns are left out.

    Raises BadInput when a header is missing (one of `options` may be: then it is blank everywhere) or stands there twice: then no row
    of the tab can be trusted.
    """
    header = [cell.strip() for cell in rows[0]] if rows else []
    where: dict[str, int] = {}
    for name in (*fields, *(name for name in options if name in header)):
        if header.count(name) != 1:
            times = "is missing" if name not in header else "stands there more than once"
            raise BadInput(f"{tab}: the column “{name}” {times}. Nothing in this tab is read until it is there once.")
        where[name] = header.index(name)
    blank = dict.fromkeys(options, "")
    return [blank | {name: row[at].strip() if at < len(row) else "" for name, at in where.items()} for row in rows[1:]]
