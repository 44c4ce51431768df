"""A good mail passes with nothing said; each defect alone is told in exactly its sentence."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from pathlib import Path

import pytest

from functions.launch import preflight as preflight_module
from functions.launch.freeze import freeze
from functions.launch.preflight import FIELDS, Audience, thawed, values
from functions.launch.preflight_links import Link, check, fault, same_owner
from functions.launch.preflight_report import Report, named
from functions.launch.preflight_spamd import Rule, Verdict
from functions.send_batch import audience as sending_audience
from shared.links import Links
from shared.mail.compile import CompiledMail
from shared.mail.source import Source
from shared.ports import File

from .preflights import GOOD, HEAD, IDENTITY, LINKS, PEOPLE, WORDS, FakeDns, FakeSpam, only, person, run
from .world import World


async def test_a_good_mail_passes_with_nothing_said() -> None:
    report = await run()
    assert report == Report()
    assert report.sentence() == ""


# --- the mail ---------------------------------------------------------------------------------------------------------


def html(inside: str) -> str:
    return HEAD + f"<html><body><p>{WORDS}</p>{inside}</body></html>"


def link(address: str, text: str = "More") -> str:
    return html(f'<a href="{address}">{text}</a>')


NO_PREHEADER = "There is no preheader: inboxes show the mail's first words beside the subject."
UNKNOWN = "The template, line 4: no recipient has a value called “nmae”; did you mean “name”."
REPLY = "The subject looks like a reply or a forwarded mail, which misleads: leave out the “Re:” or “Fwd:”."
MAILS: list[tuple[str, str, Report]] = [
    # links
    ("x.html", link("#", "Shop now"), only("Links that lead nowhere: “Shop now”. Give each an address.")),
    ("x.html", html("<a>Shop</a><a name=top></a>"), only("Links that lead nowhere: “Shop”. Give each an address.")),
    (
        "x.html",
        link("https://shop.lumenroasters.org:99999/"),
        only("Addresses that cannot be read: “https://shop.lumenroasters.org:99999/”. Type them again."),
    ),
    (
        "x.html",
        link("http://localhost:8080/a"),
        only("Addresses that work only inside your own network: “http://localhost:8080/a”. Use public ones."),
    ),
    (
        "x.html",
        link("https://wiki.internal/a") + link("https://wiki/b"),
        only("Addresses that work only inside your own network: “https://wiki.internal/a”, “https://wiki/b”. Use public ones."),
    ),
    (
        "x.html",
        "".join(link(f"https://{host}/") for host in ("93.184.216.34", "[2606:2800::1]", "2130706433", "0x7f.1")),
        only(
            "Addresses with a number in place of the site's name: “https://93.184.216.34/”, “https://[2606:2800::1]/”, "
            "“https://2130706433/” and 1 more. Spam filters refuse those, so use the name."
        ),
    ),
    (
        "x.html",
        link("https://shop.lumenroasters.org/%7B%7Bcode%7D%7D") + link("https://lumenroasters.org/?u=*|ID|*"),
        only(
            "Addresses that are still placeholders: “https://shop.lumenroasters.org/%7B%7Bcode%7D%7D”, "
            "“https://lumenroasters.org/?u=*|ID|*”. Put the real ones in."
        ),
    ),
    (
        "x.html",
        link("https://example.com/shop") + link("https://your-site.com/"),
        only(
            "Addresses that are still placeholders: “https://example.com/shop”, “https://your-site.com/”. Put the real ones in."
        ),
    ),
    ("x.html", link("mailto:hello"), only("Mail links without a whole e-mail address: “mailto:hello”. Complete them.")),
    ("x.html", link("mailto:hello@lumenroasters.org?subject=Hi") + link("tel:+351210000000"), only()),
    (
        "x.html",
        link("https://bit.ly/3xyz"),
        only(warnings="Shortened addresses: “https://bit.ly/3xyz”. Spam filters distrust them, so link to the page itself."),
    ),
    (
        "x.html",
        link("http://shop.lumenroasters.org/a"),
        only(warnings="Addresses without encryption: “http://shop.lumenroasters.org/a”. Write https:// instead of http://."),
    ),
    (
        "x.html",
        html('<img src="http://cdn.lumenroasters.org/a.png" alt="A cup">'),
        only(warnings="Addresses without encryption: “http://cdn.lumenroasters.org/a.png”. Write https:// instead of http://."),
    ),
    (
        "x.html",
        link("https://evil.net/login", "www.mybank.com") + link("https://evil.net/a", "https://mybank.com/a?b"),
        only(
            warnings="Links that show one site and lead to another: “www.mybank.com leads to evil.net”, “mybank.com leads to "
            "evil.net”. That looks like phishing, so let the text show where the link leads."
        ),
    ),
    ("x.html", link("https://shop.lumenroasters.org/a", "lumenroasters.org/a") + link("https://go.dev/x", "Node.js"), only()),
    (
        "x.txt",
        HEAD.replace("preheader: Light and sweet\n", "") + WORDS + "\n\nSee https://10.0.0.1/a.\n",
        only(
            "Addresses with a number in place of the site's name: “https://10.0.0.1/a”. "
            "Spam filters refuse those, so use the name."
        ),
    ),
    (
        "x.md",
        GOOD + "\n{% if country == 'DE' %}[Nur hier](https://intern.local/x){% endif %}\n",
        only("Addresses that work only inside your own network: “https://intern.local/x”. Use public ones."),
    ),
    # text, images
    (
        "x.txt",
        "---\nsubject: A new roast\n---\nHello\n",
        only(warnings="The text version says next to nothing (5 characters): write more than pictures and links."),
    ),
    (
        "x.html",
        HEAD
        + '<html><body><img src="https://cdn.lumenroasters.org/a.png" alt="All our spring offers at a glance"></body></html>',
        only(warnings="The mail is one image and only 0 characters of text, as in spam: say it in words as well."),
    ),
    (
        "x.html",
        html('<img src="https://cdn.lumenroasters.org/a.png"><img src="https://cdn.lumenroasters.org/b.png" alt="">'),
        only(warnings="One image has no description for those who do not see images: add an alt text."),
    ),
    (
        "x.html",
        html('<img src="https://cdn.lumenroasters.org/a.png">' * 2 + '<img src="https://cdn.lumenroasters.org/b.png" alt="Tea">'),
        only(warnings="2 of 3 images have no description for those who do not see images: add an alt text."),
    ),
    (
        "x.md",
        GOOD + "\nDear *|FNAME|*, use `[first name]`\n",
        only(warnings="The mail shows what looks like a placeholder: “|FNAME|”, “[first name]”. Put in what belongs there."),
    ),
    # law
    (
        "x.html",
        html('<p style="display:none">{{ postal_address }}</p>'),
        only("The postal address is in the template where readers do not see it: show it, or leave it to the footer."),
    ),
    (
        "x.html",
        html('<div hidden><a href="{{ unsubscribe_url }}">Leave</a></div>'),
        only("The unsubscribe link is where readers do not see it: give it words, or leave it to the footer."),
    ),
    (
        "x.html",
        html('<a href="{{ unsubscribe_url }}"></a>'),
        only("The unsubscribe link is where readers do not see it: give it words, or leave it to the footer."),
    ),
    ("x.html", html('<a href="{{ unsubscribe_url }}">Leave</a> {{ postal_address }}'), only()),
    ("x.html", html("Leave here: {{ unsubscribe_url }}"), only()),
    ("x.html", html('<a href="{{ preferences_url }}">Choose</a> <a href="{{ unsubscribe_url }}">Leave</a>'), only()),
    ("x.html", html('<a href="{{ preferences_url }}">Choose</a>'), only()),  # the footer has the way out
    ("x.html", html('<a href="{{ reconsent_url }}">Stay</a>'), only()),
    (
        "x.html",
        html('<a href="{{ reconsent_url }}">Stay</a> <a href="{{ unsubscribe_url }}"></a> {{ reconsent_url }}'),
        only("The unsubscribe link is where readers do not see it: give it words, or leave it to the footer."),
    ),
    (
        "x.html",
        html('<a href="{{ preferences_url }}">Choose</a> <a href="{{ unsubscribe_url }}"></a> {{ preferences_url }}'),
        only("The unsubscribe link is where readers do not see it: give it words, or leave it to the footer."),
    ),
    ("x.txt", "---\nsubject: A new roast\n---\n" + WORDS, only()),
    # size
    (
        "x.html",
        html(f"<p>{'leaf ' * 40}</p>" * 446),
        only(warnings="The HTML has 92 KB, close to where Gmail cuts it off (from 102 KB): shorten the mail."),
    ),
    (
        "x.html",
        html(f"<p>{'leaf ' * 40}</p>" * 508),
        only(
            warnings="The HTML has 104 KB, and Gmail hides the rest and the end with the way out (from 102 KB): shorten the mail."
        ),
    ),
    # preheader
    ("x.html", html("").replace("preheader: Light and sweet\n", ""), only(notes=NO_PREHEADER)),
    # compile
    ("x.md", "---\nsubject: a\n---\n{{ nmae }}", only(UNKNOWN)),
]


@pytest.mark.parametrize(("name", "body", "expected"), MAILS)
async def test_each_defect_of_a_mail_is_told_alone(name: str, body: str, expected: Report) -> None:
    assert await run(body, name) == expected


SUBJECTS = [
    ("x" * 35 + " " + "y" * 35, only(warnings="The subject has 71 characters: most inboxes cut it off after 70.")),
    ("FINAL DAYS", only(warnings="The subject is all in capitals, as in spam: write it as a sentence.")),
    ("春の新しい焙煎", only()),
    ("VIP 2027", only()),
    ("Now!! Here", only(warnings="The subject has many exclamation marks, as in spam: one is enough.")),
    ("Now! Here!", only()),
    *((f"{start} your order", only(warnings=REPLY)) for start in ("Re:", "RE[2]:", "Fwd :", "AW:")),
    ("Reasons to stay", only()),
    ("{{ name }}", only("The subject is empty for some people: write one that stands without their details.")),
]


@pytest.mark.parametrize(("subject", "expected"), SUBJECTS)
async def test_each_defect_of_a_subject_is_told_alone(subject: str, expected: Report) -> None:
    report = await run(subject=subject)
    assert replace(report, warnings=[one for one in report.warnings if "{{ name }}" not in one]) == expected


async def test_a_mail_that_is_too_large_to_send_is_a_fault(monkeypatch: pytest.MonkeyPatch) -> None:
    letter = html(f"<p>{'leaf ' * 40}</p>" * 300)
    monkeypatch.setattr(preflight_module, "TOO_LARGE", 150_000)
    assert await run(letter, "x.html") == Report()
    monkeypatch.setattr(preflight_module, "TOO_LARGE", 100_000)  # a mail of 10 MB takes 10 seconds to make
    assert await run(letter, "x.html") == only("The mail has 0.1 MB, and many servers refuse more than 10: shorten it.")


async def test_a_mail_that_is_too_large_to_score_is_not() -> None:
    spam = FakeSpam()
    report = await run(html("<p>" + "\N{GRINNING FACE}" * 25_000 + "</p>"), "x.html", spam=spam)
    assert report.notes == ["The mail was not scored for spam: SpamAssassin looks at no more than 500 KB."]
    assert (report.faults, spam.mails) == ([], [])


async def test_size_is_that_of_html_as_received_not_as_sent() -> None:
    """Quoted-printable makes three bytes of one."""
    accents = html("<p>" + "é" * 35_000 + "</p>")
    assert await run(accents, "x.html") == Report()


async def test_brand_and_public_address_are_looked_at() -> None:
    report = await run(identity=replace(IDENTITY, postal_address=" \n"))
    assert report == only("There is no postal address, which the law asks for: have yours added to the brand's settings.")
    for base in ("http://go.lumenroasters.org", "https://localhost:8080", "https://10.0.0.1"):
        expected = f"Readers cannot unsubscribe at {base}: ask your operator for a public https address (PUBLIC_URL)."
        assert await run(links=Links(base, LINKS.tokens)) == only(expected)


async def test_a_confirmation_needs_neither_address_nor_way_out() -> None:
    body = HEAD + f"{WORDS}\n\n[Yes, I am]({{{{ confirm_url }}}})\n"
    assert await run(body, bulk=False, tracked=False) == Report()


async def test_the_starter_letter_passes_on_a_laptop() -> None:
    """Its sender has a name for tests: so may its links, and nothing is looked up."""
    body = (Path(__file__).parents[2] / "local" / "starter" / "newsletter.md").read_text()
    identity = replace(IDENTITY, from_address="hello@lumen-coffee.example", list_domain="news.lumen-coffee.example")
    asked = FakeDns()
    report = await run(body, identity=identity, links=Links("http://127.0.0.1:8080", LINKS.tokens), dns=asked)
    assert report == only(
        notes="SPF, DKIM and DMARC were not looked up: lumen-coffee.example is a name for tests that nobody on the internet has."
    )
    assert asked.asked == []


# --- recipients -------------------------------------------------------------------------------------------------------


async def test_what_is_empty_for_some_is_named_with_its_place_and_share() -> None:
    body = GOOD.replace("# Hello", '# Hello\n\n{{ country }} {{ country or "here" }}\n')
    people = [person(country="DE")] * 59 + [person()] * 41
    report = await run(body, audience=Audience("everyone", 1_000, people))
    assert report == only(
        warnings="“{{ country }}” (line 7) is empty for 41 of the 100 subscribers looked at (41%): "
        'give it a default, as in {{ country or "friend" }}.'
    )
    assert await run(body, audience=Audience("everyone", 1_000, people[:59])) == Report()
    [everybody] = (await run(body, audience=Audience("everyone", 1_000, people[59:]))).warnings
    assert "is empty for all 41 subscribers looked at: give" in everybody


@pytest.mark.parametrize(
    ("piece", "told"),
    [
        ("{{ country|upper }}", True),
        ("{{ 'in ' ~ country }}", True),
        ("{% for i in range(2) %}{{ country }}{% endfor %}", True),
        ("{% if name %}{{ country }}{% endif %}", True),
        ("{{ country|default('here') }}", False),
        ("{{ country or name }}", False),
        ("{{ 'in ' ~ country if country }}", False),
        ("{{ country if country else 'here' }}", False),
        ("{% if country %}in {{ country }}{% endif %}", False),
        ("{% if not name %}{% elif country %}in {{ country }}{% endif %}", False),
        ("{% if country == 'DE' %}Hallo{% endif %}", False),
        ("{% for country in tags %}{{ country }}{% endfor %}", False),
    ],
)
async def test_what_has_a_default_is_not_told(piece: str, told: bool) -> None:
    report = await run(GOOD + piece)
    assert [("{{ country }}" in sentence) for sentence in report.warnings] == [True] * told


@pytest.mark.parametrize("place", ["subject", "preheader"])
async def test_a_place_without_lines_is_named(place: str) -> None:
    body = GOOD.replace(f"{place}: ", f"{place}: {{{{ country }}}} ")
    [warning] = (await run(body)).warnings
    assert warning.startswith(f"“{{{{ country }}}}” (in the {place}) is empty for all 3 subscribers")


async def test_only_those_who_will_get_the_mail_are_counted() -> None:
    """The sample was read by an index, which may be stale."""
    gone = [person(status=""), person(suppressed=["complaint"]), person(tags=["other"])]
    body = GOOD + "{{ country }}"
    here = Audience("vip", 1_000, [person(country="DE", tags=["vip"]), *gone])
    assert await run(body, audience=here) == Report()


@pytest.mark.parametrize(
    ("body", "whom", "why"),
    [
        ("{{ 10 // (name|length - 5) }}", "one of your subscribers", "integer division or modulo by zero"),
        ("{{ 10 // (name|length) }}", "somebody like your subscribers", "integer division or modulo by zero"),
        ("{{ 1 / ((name|length > 200)|int - 1) }}", "somebody with odd details", "division by zero"),
    ],
)
async def test_a_mail_that_cannot_be_made_for_somebody_is_a_fault(body: str, whom: str, why: str) -> None:
    report = await run(GOOD + body)
    assert report.warnings == []
    [sentence] = report.faults
    assert sentence.startswith(f"The mail cannot be made for {whom}: ") and why in sentence


async def test_a_mail_that_fails_for_some_is_read_for_the_others() -> None:
    report = await run(link("#") + "{{ 1 / ((name|length > 200)|int - 1) }}", "x.html")
    assert len(report.faults) == 2 and report.faults[1].startswith("Links that lead nowhere")


async def test_an_unexpected_error_is_a_fault_too(monkeypatch: pytest.MonkeyPatch) -> None:
    def splice(*given: object) -> bytes:
        raise ZeroDivisionError

    monkeypatch.setattr(CompiledMail, "splice", splice)
    assert await run() == only(
        "The mail cannot be made for somebody like your subscribers: simplify the template's {{ }} and {% %}, or tell your operator."
    )


async def test_what_a_stranger_typed_never_decides() -> None:
    typed = ["*|FNAME|*", "{{ name }}", "MAKE MONEY FAST!!!", "Re: your account", "x" * 90, "<a href='http://10.0.0.1'>y</a>"]
    people = [person(name=text, language=text, tags=[text]) for text in typed]
    spam = FakeSpam()
    body = GOOD + "{{ language }} {{ tags }} {{ tags|first }}"
    report = await run(body, subject="{{ name or 'A roast' }}", audience=Audience("everyone", 1_000, people), spam=spam)
    assert report == Report()
    assert b"Subject: Ada Lovelace\r\n" in spam.mails[0]


async def test_every_kind_of_reader_is_thought_of() -> None:
    image, links = '<img src="https://cdn.lumenroasters.org/a.png">', '<a href="https://lumenroasters.org/a">More</a>' * 3
    letter = html(f"{{% if 'vip' in tags %}}{image}{{% else %}}{links}{{% endif %}}")
    people = [*PEOPLE, person(tags=["vip"])]
    assert await run(letter, "x.html", audience=Audience("everyone", 1_000, people)) == only(
        warnings="One image has no description for those who do not see images: add an alt text."
    )
    assert await run(letter, "x.html") == Report()


async def test_without_subscribers_at_hand_the_mail_is_still_read() -> None:
    assert await run(link("#"), "x.html", audience=Audience("everyone", 1_000)) == only(
        "Links that lead nowhere: “More”. Give each an address."
    )


def test_a_template_may_say_here_what_it_may_when_sent() -> None:
    subscriber = person(country="PT", located={"seen": {"DE": 1}})
    sent = sending_audience.Audience("C-0001").recipient("0" * 32, subscriber, LINKS, 0)
    assert values(subscriber) == dict(sent.fields)
    assert set(FIELDS) <= set(sending_audience.FIELDS)


@pytest.mark.parametrize(
    ("now", "before", "sentence"),
    [
        (3_001, 1_000, "This goes to 3,001 people; the last mail to “vip” went to 1,000. Is it the right segment?"),
        (3_000, 1_000, ""),
        (333, 1_000, "This goes to 333 people; the last mail to “vip” went to 1,000. Is it the right segment?"),
        (334, 1_000, ""),
        (120, 21, ""),
        (121, 21, "This goes to 121 people; the last mail to “vip” went to 21. Is it the right segment?"),
    ],
)
async def test_a_jump_of_the_audience_is_told_with_both_numbers(now: int, before: int, sentence: str) -> None:
    assert await run(audience=Audience("vip", now, PEOPLE), previous=before) == only(warnings=sentence)


async def test_a_first_send_is_compared_with_nothing() -> None:
    assert await run(previous=None) == only(notes="This is the first mail to “everyone”, so its size was compared with nothing.")


# --- spam -------------------------------------------------------------------------------------------------------------

RULES = (
    Rule(0.4, "MINOR", "Minor matter"),
    Rule(1.5, "MONEY", "Talks of money."),
    Rule(-1.0, "GOOD", "Fine"),
    Rule(2.0, "URGENT", "Presses"),
    Rule(0.5, "LOUD", "Shouts"),
)
TOP = "Change what counts most: Presses (URGENT, 2); Talks of money (MONEY, 1.5); Shouts (LOUD, 0.5)."


@pytest.mark.parametrize(
    ("score", "expected"),
    [
        (2.9, only()),
        (3.0, only(warnings=f"SpamAssassin gives this mail 3 points; from 5 it is spam. {TOP}")),
        (4.9, only(warnings=f"SpamAssassin gives this mail 4.9 points; from 5 it is spam. {TOP}")),
        (5.0, only(f"SpamAssassin gives this mail 5 points, and from 5 it is spam. {TOP}")),
        (1_000.7, only(f"SpamAssassin gives this mail 1000.7 points, and from 5 it is spam. {TOP}")),
    ],
)
async def test_points_are_told_with_the_rules_that_count_most(score: float, expected: Report) -> None:
    assert await run(spam=FakeSpam(Verdict(score, RULES))) == expected


async def test_without_an_answer_about_spam_there_is_a_note() -> None:
    assert await run(spam=None) == only(notes="The mail was not scored for spam: no SpamAssassin is set up here.")
    unasked = "SpamAssassin was not asked to the end: "
    assert await run(spam=FakeSpam(down=True)) == only(notes=f"{unasked}SpamAssassin is unavailable: ConnectionRefusedError.")
    assert await run(spam=FakeSpam(hanging=True), seconds=0.2) == only(notes=f"{unasked}it took more than 0.2 seconds.")


# --- the rest ---------------------------------------------------------------------------------------------------------


async def test_a_frozen_mail_is_read_back(world: World) -> None:
    world.drive.put("news.md", GOOD)
    file = File("news.md", "news.md", "text/markdown", "7", "2027-01-01T00:00:00Z", "", 0)
    mail = await freeze(world.drive, world.objects, LINKS, file, "C-0001", IDENTITY, subject="Mine")
    source = await thawed(world.objects, "C-0001", mail)
    assert source == Source(name="news.md", data=GOOD.encode(), campaign="C-0001", identity=IDENTITY, subject="Mine")


async def test_the_loop_runs_on_while_a_mail_is_read() -> None:
    turns, done = 0, asyncio.Event()

    async def tick() -> None:
        nonlocal turns
        while not done.is_set():
            turns += 1
            await asyncio.sleep(0)

    ticking = asyncio.create_task(tick())
    await run(html("<p>é</p>" * 2_000), "x.html")
    done.set()
    await ticking
    assert turns > 50  # a mail read on the loop leaves it five


def test_a_report_is_short_in_a_row() -> None:
    report = Report([f"Fault {n}." for n in range(5)], ["Odd."], ["Skipped."])
    assert report.sentence() == "Fault 0. Fault 1. Fault 2. And 2 more in the tab Preflight. Worth a look: Odd."
    assert Report(notes=["Skipped."]).sentence() == ""
    report.add(Report(["Fault 1.", "New.", "New."]))
    assert report.faults[-2:] == ["Fault 4.", "New."]
    assert named(["a", "b", "a", "c", "d"]) == "“a”, “b”, “c” and 1 more"


@pytest.mark.parametrize(
    ("url", "kind"),
    [
        ("https://lumenroasters.org/a[]=1?q={}&x=todos", ""),
        ("https://münchen.de/ä", ""),
        ("https://shop..org/", "unreadable"),
        ("https://:80/", "unreadable"),
        ("https://router.home.arpa/", "private"),
        ("https://0177.0.0.1/", "number"),
        ("https://lumenroasters.org/{id}", "placeholder"),
        ("https://lumenroasters.org/TODO", "placeholder"),
        ("https://a.example/", "placeholder"),
        ("https://shop.org/todo-list-app", ""),
        ("https://shop.org/apps/todo", ""),
        ("https://shop.org/how-to-build-your-site", ""),
        ("https://todo.com/", ""),
        ("https://shop.org/?to=INSERT_LINK_HERE", "placeholder"),
        ("https://www.yourdomain.co.uk/a", "placeholder"),
        ("https://your-link-here", "placeholder"),
        ("https://save-your-site.com/", ""),
    ],
)
def test_an_address_is_judged_by_its_spelling(url: str, kind: str) -> None:
    assert fault(url, trial=False) == kind


@pytest.mark.parametrize(
    ("url", "warned"),
    [
        ("https://shop.org/todo-list-app", False),
        ("https://shop.org/build-your-site/", False),
        ("https://shop.org/my_todo", False),
        ("https://shop.org/apps/todo", True),
        ("https://shop.org/?next=your-website", True),
        ("https://your-company.shop.org/", True),
        ("https://shop.org/xxxx", True),
    ],
)
def test_what_may_be_a_placeholder_is_a_warning(url: str, warned: bool) -> None:
    sentence = f"Addresses that look like placeholders: “{url}”. See that they are the real ones."
    assert check([Link(url, "a page")], trial=False) == Report(warnings=[sentence] if warned else [])


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("a.co.uk", "b.co.uk", False),
        ("www.a.co.uk", "shop.a.co.uk", True),
        ("www.a.com", "a.com", True),
        ("a.com", "a.com.evil.net", False),
    ],
)
def test_two_sites_belong_together_by_their_last_labels(one: str, other: str, same: bool) -> None:
    assert same_owner(one, other) is same
