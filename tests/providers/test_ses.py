"""Amazon SES: the contract of senders, its own documented answers, and its signature."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from shared.errors import ConfigError, Unavailable
from shared.ports import Outcome
from shared.providers import Given
from shared.providers.api import ApiSender
from shared.providers.senders import open_sender
from shared.providers.ses import ref_of, sign, tag
from tests.providers.api_server import Reply
from tests.providers.fake_ses import FakeSes
from tests.providers.sender_contract import FROM, SenderContract, kinds, mails

pytestmark = pytest.mark.network


class TestSes(SenderContract):
    KIND = "ses"
    OPTIONS = {"region": FakeSes.region}  # noqa: RUF012
    MESSAGE_ID = False

    def fresh(self) -> FakeSes:
        return FakeSes()

    @pytest.fixture
    async def server(self) -> AsyncIterator[FakeSes]:
        async with self.fresh() as running:
            yield running
            assert running.failures == []

    @pytest.mark.parametrize(
        ("status", "wanted"),
        [
            ("MESSAGE_REJECTED", "message"),
            ("MAIL_FROM_DOMAIN_NOT_VERIFIED", "ours"),
            ("CONFIGURATION_SET_NOT_FOUND", "ours"),
            ("CONFIGURATION_SET_DOES_NOT_EXIST", "ours"),
            ("TEMPLATE_NOT_FOUND", "ours"),
            ("TEMPLATE_DOES_NOT_EXIST", "ours"),
            ("ACCOUNT_SUSPENDED", "ours"),
            ("ACCOUNT_THROTTLED", "throttle"),
            ("ACCOUNT_DAILY_QUOTA_EXCEEDED", "throttle"),
            ("INVALID_SENDING_POOL_NAME", "ours"),
            ("ACCOUNT_SENDING_PAUSED", "ours"),
            ("CONFIGURATION_SET_SENDING_PAUSED", "ours"),
            ("INVALID_PARAMETER", "message"),
            ("INVALID_PARAMETER_VALUE", "message"),
            ("TRANSIENT_FAILURE", "temporary"),
            ("FAILED", "temporary"),
            ("SOMETHING_NEW", "unknown"),
        ],
    )
    async def test_documented_statuses_of_one_entry(self, sender: ApiSender, server: FakeSes, status: str, wanted: str) -> None:
        server.statuses = {"r1@example.org": status}
        outcomes = await sender.send(FROM, mails(3))
        assert outcomes[1] == Outcome(wanted, "200" if wanted == "unknown" else status)  # type: ignore[arg-type]
        assert kinds(outcomes)[::2] == ["sent"] * 2

    @pytest.mark.parametrize(
        ("status", "name", "said", "wanted"),
        [
            (429, "TooManyRequestsException", "", "throttle"),
            (400, "LimitExceededException", "", "throttle"),
            (400, "ThrottlingException", "Maximum sending rate exceeded.", "throttle"),
            (400, "AccountSuspendedException", "", "ours"),
            (400, "SendingPausedException", "", "ours"),
            (400, "MessageRejected", "Email address is not verified. The following identities failed …", "ours"),
            (400, "MessageRejected", "invalid content", "sent"),  # the halves are taken
            (400, "MailFromDomainNotVerifiedException", "", "ours"),
            (404, "NotFoundException", "", "ours"),
            (400, "BadRequestException", "", "sent"),
            (403, "AccessDeniedException", "", "ours"),
            (403, "SignatureDoesNotMatch", "", "ours"),
            (403, "InvalidClientTokenId", "", "ours"),
            (400, "RequestExpired", "", "ours"),
            (413, "RequestEntityTooLargeException", "", "sent"),
            (500, "InternalFailure", "", "unknown"),
            (503, "ServiceUnavailable", "", "down"),
            (503, "", "", "unknown"),
            (504, "", "", "unknown"),
        ],
    )
    @pytest.mark.parametrize("where", ["header", "body"])
    async def test_documented_errors(
        self, sender: ApiSender, server: FakeSes, status: int, name: str, said: str, wanted: str, where: str
    ) -> None:
        body = {"__type": f"com.amazonaws.ses#{name}", "Message": said} if where == "body" else {"message": said}
        server.faults = {1: Reply(status, body, {"x-amzn-ErrorType": f"{name}:http://x/"} if where == "header" and name else {})}
        assert kinds(await sender.send(FROM, mails(3))) == [wanted] * 3

    @pytest.mark.parametrize(
        "answer", [{}, {"BulkEmailEntryResults": [{"Status": "SUCCESS"}]}, [], {"BulkEmailEntryResults": None}]
    )
    async def test_a_good_status_without_a_result_for_each_is_unknown(
        self, sender: ApiSender, server: FakeSes, answer: object
    ) -> None:
        server.faults = {1: Reply(200, answer)}
        assert kinds(await sender.send(FROM, mails(3))) == ["unknown"] * 3

    @pytest.mark.parametrize("account", [{"SendingEnabled": False}, {"SendingEnabled": True, "EnforcementStatus": "SHUTDOWN"}])
    async def test_an_account_that_may_not_send_is_not_ready(
        self, sender: ApiSender, server: FakeSes, account: dict[str, object]
    ) -> None:
        server.account = account
        with pytest.raises(Unavailable):
            await sender.ready()

    async def test_a_key_that_may_only_send_is_ready(self, sender: ApiSender, server: FakeSes) -> None:
        server.may_ask = False
        await sender.ready()

    async def test_a_secret_of_the_wrong_form_is_our_fault(self, sender: ApiSender, server: FakeSes) -> None:
        server.key = "AKIAEXAMPLE"
        with pytest.raises(Unavailable, match="access key id"):
            await sender.ready()
        assert kinds(await sender.send(FROM, mails(2))) == ["ours"] * 2
        assert server.sends == 0

    async def test_a_configuration_set(self, server: FakeSes) -> None:
        sender = open_sender("ses", self.configured(server, configuration_set="news"))
        assert isinstance(sender, ApiSender)
        assert b'"ConfigurationSetName":"news"' in sender.api.call(mails(1), server.key).body
        await sender.close()

    def test_the_region_names_the_endpoint(self) -> None:
        async def secret() -> str:
            return ""

        sender = open_sender("ses", Given(name="s", options={"region": "eu-west-1"}, secret=secret))
        assert isinstance(sender, ApiSender) and sender.api.endpoint == "https://email.eu-west-1.amazonaws.com"
        with pytest.raises(ConfigError, match="region"):
            open_sender("ses", Given(name="s", options={"region": "eu west"}, secret=secret))

    def test_a_tag_holds_any_ref(self) -> None:
        for ref in ("C-0001~abc_-~k", "C~~", "ü" * 30):
            assert ref_of(tag(ref)) == ref and tag(ref).replace("_", "").replace("-", "").isalnum()


# What botocore 1.44.5 (SigV4Auth) signs at 2026-11-26 10:20:30 UTC with this key, and the example of AWS's own documentation.
KEY = "AKIAEXAMPLE:wJalrXUtnFEMI/K7MDENG+bPxRfiCY"
AT = 1795688430.0
JSON = {"Content-Type": "application/json"}
SEND = "/v2/email/outbound-bulk-emails"


@pytest.mark.parametrize(
    ("method", "url", "head", "body", "region", "signature"),
    [
        (
            "POST",
            f"https://email.eu-west-1.amazonaws.com{SEND}",
            JSON,
            '{"ü":1}'.encode(),
            "eu-west-1",
            "4573382b231afc0e9cf59c25",
        ),
        ("GET", "https://email.us-east-1.amazonaws.com/v2/email/account", {}, b"", "us-east-1", "2b2b74f1e2126f2ceb2f83e0"),
        ("POST", f"http://127.0.0.1:8080{SEND}", JSON, b"x" * 1000, "eu-west-1", "0ec9d225f3d4fb95184350b6"),
    ],
)
def test_the_signature_is_botocores(
    method: str, url: str, head: dict[str, str], body: bytes, region: str, signature: str
) -> None:
    assert f"Signature={signature}" in sign(method, url, head, body, KEY, region, AT)["Authorization"]


def test_the_signature_is_that_of_the_documentation() -> None:
    url = "https://iam.amazonaws.com/?Action=ListUsers&Version=2010-05-08"
    head = {"Content-Type": "application/x-www-form-urlencoded; charset=utf-8"}
    key = "AKIDEXAMPLE:wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY"
    proof = sign("GET", url, head, b"", key, "us-east-1", 1440938160.0, "iam")["Authorization"]
    assert proof.endswith("Signature=5d672d79c15b13162d9279b0855cfba6789a8edb4c82c400e06b5924a6f2b5d7")
