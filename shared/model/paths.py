"""Where documents live. Collections end in a plural, documents in an id."""

from __future__ import annotations

from dataclasses import dataclass

CONFIRM = "confirm"  # the system campaigns whose batches are single mails
WELCOME = "welcome"
ACCESS = "access"  # a link to the preference centre, for who asks for it by address
EXPORT = "export"  # what is kept of a reader, mailed to the reader
SYSTEM = (CONFIRM, WELCOME, ACCESS, EXPORT)
TEST = "test"  # the campaign of all test mails, see MailTests
NOBODY = "_"  # the key of their references: MailRef.parse takes it for none, so what is heard of a test mail counts for nothing


@dataclass(frozen=True, slots=True)
class Paths:
    """Paths of one tenant."""

    tenant_id: str

    @property
    def tenant(self) -> str:
        return f"tenants/{self.tenant_id}"

    @property
    def subscribers(self) -> str:
        return f"{self.tenant}/subscribers"

    def subscriber(self, sid: str) -> str:
        return f"{self.subscribers}/{sid}"

    def consent(self, sid: str, consent: str) -> str:
        return f"{self.consents(sid)}/{consent}"

    @property
    def suppressions(self) -> str:
        return f"{self.tenant}/suppressions"

    def suppression(self, sid: str) -> str:
        return f"{self.suppressions}/{sid}"

    @property
    def erasures(self) -> str:
        """What is left to do of erasures, see shared/model/erasure.py."""
        return f"{self.tenant}/erasures"

    def erasure(self, sid: str) -> str:
        return f"{self.erasures}/{sid}"

    @property
    def privacy(self) -> str:
        """How far the latest looks of the step privacy have come."""
        return f"{self.tenant}/console/privacy"

    def consents(self, sid: str) -> str:
        return f"{self.subscriber(sid)}/consents"

    def lifts(self, sid: str) -> str:
        return f"{self.suppression(sid)}/lifts"

    def lift(self, sid: str, lift: str) -> str:
        return f"{self.lifts(sid)}/{lift}"

    @property
    def segments(self) -> str:
        """Segments by rule."""
        return f"{self.tenant}/segments"

    def segment(self, name: str) -> str:
        return f"{self.segments}/{name}"

    @property
    def sweep(self) -> str:
        """How far the latest look at all subscribers for the segments by rule has come."""
        return f"{self.tenant}/console/segments"

    @property
    def imports(self) -> str:
        """The CSV files that are or were imported, and how far."""
        return f"{self.tenant}/console/imports"

    @property
    def campaigns(self) -> str:
        return f"{self.tenant}/campaigns"

    def campaign(self, campaign: str) -> str:
        return f"{self.campaigns}/{campaign}"

    def batches(self, campaign: str) -> str:
        return f"{self.campaign(campaign)}/batches"

    def batch(self, campaign: str, batch: str) -> str:
        return f"{self.batches(campaign)}/{batch}"

    def deliveries(self, campaign: str) -> str:
        return f"{self.campaign(campaign)}/deliveries"

    def delivery(self, campaign: str, delivery: str) -> str:
        return f"{self.deliveries(campaign)}/{delivery}"

    def summaries(self, campaign: str) -> str:
        return f"{self.campaign(campaign)}/summaries"

    def summary(self, campaign: str, range: str) -> str:
        return f"{self.summaries(campaign)}/{range}"

    @property
    def marks(self) -> str:
        return f"{self.tenant}/marks"

    def mark(self, campaign: str) -> str:
        """Which of a campaign's summaries are out of date."""
        return f"{self.marks}/{campaign}"

    @property
    def reports(self) -> str:
        return f"{self.tenant}/reports"

    def report(self, campaign: str) -> str:
        return f"{self.reports}/{campaign}"

    @property
    def providers(self) -> str:
        return f"{self.tenant}/providers"

    def provider(self, name: str) -> str:
        return f"{self.providers}/{name}"

    def callback(self, digest: str) -> str:
        """Note of a provider's callback that was taken; it goes by itself after days."""
        return f"{self.tenant}/callbacks/{digest}"

    def limit(self, hour: int, what: str) -> str:
        """Whom a limit of mails that strangers can ask for counted in an hour (hours since the epoch); it goes by itself after a day.
        `what`: see functions/send_batch/limits.py."""
        return f"{self.tenant}/limits/{hour}.{what}"

    @property
    def endpoints(self) -> str:
        return f"{self.tenant}/endpoints"

    def endpoint(self, name: str) -> str:
        return f"{self.endpoints}/{name}"

    def minutes(self, endpoint: str) -> str:
        """What became of an endpoint's events, a document for a minute or more of one process; it goes by itself after days."""
        return f"{self.endpoint(endpoint)}/minutes"

    def minute(self, endpoint: str, minute: str) -> str:
        return f"{self.minutes(endpoint)}/{minute}"

    @property
    def templates(self) -> str:
        """What launch found in each file of the templates folder."""
        return f"{self.tenant}/console/templates"

    @property
    def archive(self) -> str:
        """The campaigns that everybody may see, the newest of them, see functions/launch/volumes.py."""
        return f"{self.tenant}/console/archive"

    def archive_volume(self, number: int | str) -> str:
        """Older ones."""
        return f"{self.archive}-{number}"

    @property
    def pages(self) -> str:
        """The texts of public pages that launch found in the folder `pages`."""
        return f"{self.tenant}/console/pages"

    @property
    def console(self) -> str:
        """What launch last saw of each row of the Campaigns tab, and since when the Sheet does not answer sync_sheet."""
        return f"{self.tenant}/console/campaigns"


@dataclass(frozen=True, slots=True)
class MailTests(Paths):
    """The paths of a tenant's test mails, apart from everything that is counted. Each is one document, a batch that is its own reader and
    campaign: the fields of the three have different names, and the address goes when the batch does."""

    @classmethod
    def of(cls, paths: Paths) -> MailTests:
        return cls(f"{paths.tenant_id}/tests/mails")

    @property
    def subscribers(self) -> str:
        return self.batches(TEST)
