"""Search over titles and text that the database cannot read: over HTTP, and the pure parts by property."""

import unicodedata
import uuid
from pathlib import Path
from typing import Literal

import psycopg
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from aliquot.chat.search.index import SearchIndex
from aliquot.chat.search.matching import Matcher
from aliquot.chat.search.query import parse
from aliquot.chat.search.words import compose
from aliquot.kernel.ids import new_id
from aliquot.platform.settings import Limits
from aliquot.platform.vault import Vault
from tests.conftest import Urls
from tests.site import Seeded, Site, running_site


def found(query: str, text: str) -> bool:
    return Matcher(parse(query)).match(text) is not None


@pytest.mark.parametrize(
    ("query", "text"),
    [
        ("sample", "Two samples were lost"),
        ("Studies ", "a study of cells"),
        ("running ", "the run was stopped"),
        ("Proben ", "Die Probe ist kalt"),
        ("echantillon", "Les échantillons sont prêts"),
        ("résumé", "RESUME of the run"),
        ("resume", "re\u0301sume\u0301 of the run"),
        ("strasse", "Die Straße"),
        ("prot", "the protocol"),
        ("PCR-0", "Is PCR-02 ready?"),
        ("pcr 02", "Is PCR-02 ready?"),
        ('"cell line"', "the Cell-Line of choice"),
        ("“cell line”", "the cell line"),
        ('"cell line', "the cell line"),
        ("細胞", "これは細胞培養です"),
        ("कोशिका", "यह कोशिका है"),
        ("ready pcr", "PCR-02 is ready"),
    ],
)
def test_found(query: str, text: str) -> None:
    assert found(query, text)


@pytest.mark.parametrize(
    ("query", "text"),
    [
        ("general ", "a gene"),
        ("gene ", "in general"),
        ('"samples"', "one sample"),
        ('"line cell"', "cell line"),
        ('"cell line"', "cell of a line"),
        ("pcr hplc", "only PCR here"),
        ("胞細", "細胞"),
        ("prot ", "the protocol"),
    ],
)
def test_not_found(query: str, text: str) -> None:
    assert not found(query, text)


_WORDS = st.sampled_from(
    [
        "run", "running", "protein", "proteins", "Probe", "proben", "a", "ab", "PCR-02", "細胞培養", "résumé", "strasse", "Straße", "study",
        "studies", "x1", "कोशिका",
    ]
)  # fmt: skip
_TEXTS = st.lists(_WORDS | st.text(max_size=6), max_size=8).map(" ".join)


@st.composite
def _searched(draw: st.DrawFn) -> tuple[str, str]:
    """A text, and a query of pieces of it with whatever people type between them."""
    text = draw(_TEXTS)
    pieces = []
    for _ in range(draw(st.integers(1, 3))):
        start = draw(st.integers(0, len(text)))
        pieces.append(text[start : start + draw(st.integers(1, 12))])
        pieces.append(draw(st.sampled_from([" ", '"', "", "-", "\0", "“"])))
    return text, draw(st.sampled_from(["", '"'])) + "".join(pieces).rstrip("-") + draw(st.sampled_from(["", " "]))


@given(_searched())
@example(("ab", "a"))
@example(("studies", "study "))
@example(("細胞培養", "細"))
def test_what_matches_has_the_tokens_and_is_shown_as_it_stands(searched: tuple[str, str]) -> None:
    """The index must never hide what the text has; highlights must lie in the snippet and name words, whatever the input."""
    text, query = searched
    parsed = parse(query)
    hit = Matcher(parsed).match(text) if parsed.terms else None
    if hit is None:
        return
    assert set(_INDEX.of_query(_SUBJECT, parsed.parts())) <= set(_INDEX.of_text(_SUBJECT, text))
    snippet = hit[1]
    assert snippet.highlights
    assert snippet.text.removeprefix("… ").removesuffix(" …") in compose(text)
    last = 0
    for span in snippet.highlights:
        assert last <= span.start < span.end <= len(snippet.text)
        last = span.end


def test_exact_words_come_before_other_forms_and_snippets_show_most_of_what_was_sought() -> None:
    def score(query: str, text: str) -> float:
        hit = Matcher(parse(query)).match(text)
        assert hit is not None
        return hit[0]

    assert score("sample ", "a sample here") > score("sample ", "the samples here") > score("samp", "the samples here")
    assert score("sample ", "sample and sample") > score("sample ", "sample and others")
    assert score("sample ", "one sample") > score("sample ", "one sample " + "of very many other words " * 50)
    long = "buffer " + "filler words without meaning " * 40 + "the buffer of the column" + " and so on" * 60
    hit = Matcher(parse("buffer column ")).match(long)
    assert hit is not None
    snippet = hit[1]
    assert [snippet.text[h.start : h.end] for h in snippet.highlights] == ["buffer", "column"]
    assert snippet.text.startswith("… ")
    assert snippet.text.endswith(" …")
    assert len(snippet.text) < 210


@pytest.mark.parametrize("text", ["a" + "\u0301" * 16_000 + "\u0323" * 16_000, "a " * 16_000, "x" * 32_000, "\ufdfa" * 32_000])
def test_hostile_texts_cost_little(text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Marks piled on one letter take a second and a half to normalise at once: never more than a piece is."""
    pieces: list[int] = []
    normalize = unicodedata.normalize

    def counted(form: Literal["NFC", "NFD", "NFKC", "NFKD"], part: str) -> str:
        pieces.append(len(part))
        return normalize(form, part)

    monkeypatch.setattr(unicodedata, "normalize", counted)
    assert len(_INDEX.of_text(_SUBJECT, text)) < 3_000
    Matcher(parse("a ")).match(text)
    assert max(pieces, default=0) < 5_000


@given(_TEXTS)
def test_a_word_of_the_text_finds_it(text: str) -> None:
    for word in text.split():
        if parse(word).terms and '"' not in word:
            assert found(f"{word} ", text), word


class _OneKey(Vault):
    """A vault without files: the property needs tokens only."""

    def __init__(self) -> None: ...

    def derive_for(self, subject: uuid.UUID, purpose: str) -> bytes:
        return b"k" * 32


_INDEX, _SUBJECT = SearchIndex(_OneKey()), new_id()


def test_tokens_are_the_subject_s_own(vault: Vault) -> None:
    one, other = new_id(), new_id()
    for person in (one, other):
        vault.ensure_subject(person)
    index = SearchIndex(vault)
    tokens = index.of_text(one, "protein in buffer A")
    assert set(tokens) == set(index.of_text(one, "Buffer a — in PROTEIN"))
    assert set(tokens).isdisjoint(index.of_text(other, "protein in buffer A"))
    assert all(-(2**63) <= token < 2**63 for token in tokens)
    vault.erase(one)
    vault.ensure_subject(one)
    assert set(tokens).isdisjoint(index.of_text(one, "protein in buffer A"))


async def test_search_finds_titles_answers_and_questions_with_snippets(site: Site) -> None:
    scientist, viewer = await site.client("scientist"), await site.client("viewer")

    async def ask(message: str, conversation: str) -> str:
        answer = await scientist.post("/api/chat/completion", json={"message": message, "conversation_id": conversation})
        return str(answer.json()["conversation_id"])

    async def search(q: str, **params: str) -> list[dict]:  # type: ignore[type-arg]
        answer = await scientist.get("/api/conversations", params={"q": q, **params})
        assert answer.status_code == 200, answer.text
        return list(answer.json()["items"])

    first = await ask("Is PCR-02 ready for the Müller plate?", "c1")
    second = await ask("Is HPLC-03 ready? <b>canary</b>", "c2")
    await scientist.post("/api/chat/tools", json={"name": "get_instrument_status", "arguments": {"instrument": "PCR-02"}})
    assert [c["id"] for c in await search("muller")] == [first]
    assert [c["id"] for c in await search("mueller")] == []
    assert [c["id"] for c in await search('"HPLC-03 ready"')] == [second]
    both = await search("ready")
    assert {c["id"] for c in both} == {first, second}
    assert {match["role"] for c in both for match in c["matches"]} >= {None, "user"}
    answered = await search("idle")
    assert [c["id"] for c in answered] == [first]  # a word of the answer; the direct tool call stays hidden
    assert answered[0]["matches"][0]["role"] == "assistant"
    snippet = (await search("canary"))[0]["matches"][0]["snippet"]
    assert [snippet["text"][h["start"] : h["end"]] for h in snippet["highlights"]] == ["canary"]
    assert "<b>" in snippet["text"]  # plain text as it was written; who shows it escapes it
    assert (await viewer.get("/api/conversations", params={"q": "ready"})).json() == {"items": [], "next": None, "truncated": False}

    page = (await scientist.get("/api/conversations", params={"q": "ready", "limit": 1})).json()
    rest = (await scientist.get("/api/conversations", params={"q": "ready", "limit": 1, "after": page["next"]})).json()
    assert {page["items"][0]["id"], rest["items"][0]["id"]} == {first, second}
    assert rest["next"] is None

    await scientist.patch(f"/api/conversations/{first}", json={"title": "Zebrafish"})
    renamed = await search("zebraf")
    assert [c["id"] for c in renamed] == [first]
    assert renamed[0]["matches"][0]["message_id"] is None
    assert [c["title"] for c in await search("Müller plate")] == ["Zebrafish"]  # the question still has it, the title no longer
    await scientist.patch(f"/api/conversations/{second}", json={"archived": True})
    assert {c["id"] for c in await search("ready")} == {first, second}
    assert [c["id"] for c in await search("ready", archived="false")] == [first]
    await scientist.delete(f"/api/conversations/{first}")
    assert [c["id"] for c in await search("ready")] == [second]


async def test_a_search_sees_what_is_shared_as_long_as_it_is(site: Site) -> None:
    scientist, viewer = await site.client("scientist"), await site.client("viewer")
    made = await scientist.post("/api/chat/completion", json={"message": "Is PCR-02 ready for the axolotl?", "conversation_id": "mine-1"})
    conversation, share = made.json()["conversation_id"], new_id()

    async def titles() -> list[str]:
        return [c["title"] for c in (await viewer.get("/api/conversations", params={"q": "axolotl"})).json()["items"]]

    assert await titles() == []
    with psycopg.connect(site.services.db.url) as conn:
        conn.execute(
            "INSERT INTO conversation_share (id, conversation_id, made_by, public, may_write, token_hash, created_at) "
            "VALUES (%s, %s, %s, false, false, %s, now())",
            [share, conversation, site.people["scientist"], b"x"],
        )
        conn.execute("INSERT INTO conversation_share_person VALUES (%s, %s)", [share, site.people["viewer"]])
    assert await titles() == ["Is PCR-02 ready for the axolotl?"]
    found = (await viewer.get("/api/conversations", params={"q": "axolotl"})).json()["items"][0]
    assert (found["client_id"], found["owner_id"], found["access"]) == (None, str(site.people["scientist"]), "read")
    assert (await viewer.get("/api/conversations")).json()["items"] == []
    site.services.vault.erase(site.people["scientist"])  # nothing of theirs can be opened, and nobody's search breaks
    assert await titles() == []
    with psycopg.connect(site.services.db.url) as conn:
        conn.execute("UPDATE conversation_share SET revoked_at = now()")
    assert await titles() == []


async def test_one_search_at_a_time_and_no_longer_than_is_good_for_others(seeded_urls: Urls, seeded: Seeded, tmp_path: Path) -> None:
    """Fails when one person's searches run beside each other, others wait for them, or a cut answer looks like a whole one."""
    limits = Limits(search_scan_chars=1_000, search_wait_seconds=0.1)
    async with running_site(seeded_urls, tmp_path / "data", seeded, shutdown_seconds=0.2, limits=limits) as site:
        scientist, viewer = await site.client("scientist"), await site.client("viewer")
        for n in range(2):
            await scientist.post("/api/chat/completion", json={"message": f"axolotl {n} " + "water " * 200, "conversation_id": f"c{n}"})
        seen = (await scientist.get("/api/conversations", params={"q": "axolotl water"})).json()
        assert (seen["truncated"], any(m["role"] for m in seen["items"][0]["matches"])) == (True, True)
        async with site.services.chat.search.turns.of(site.people["scientist"]):
            answer = await scientist.get("/api/conversations", params={"q": "axolotl"})
            assert (answer.status_code, answer.json()["code"], answer.headers["retry-after"]) == (429, "search_under_way", "2")
            assert (await viewer.get("/api/conversations", params={"q": "axolotl"})).json()["truncated"] is False
            assert (await scientist.get("/api/conversations")).status_code == 200
        assert (await scientist.get("/api/conversations", params={"q": "axolotl"})).status_code == 200


async def test_bad_searches_are_answered(site: Site) -> None:
    scientist = await site.client("scientist")
    await scientist.post("/api/conversations", json={"client_id": "c1", "title": "100% (a|b) & !c:* \\ '; --"})
    empty = ("...", '"', '""', '"""', "\u0000", "()[]{}*+?|^$\\", "& | ! <-> :*", "'; --", "%_", "\u202e", "😀")
    for q in empty:
        answer = await scientist.get("/api/conversations", params={"q": q})
        assert (answer.status_code, answer.json()) == (200, {"items": [], "next": None, "truncated": False}), q
    for q in ("a|b", "100%", "(a & b)", "a:* b", "'; DROP TABLE message; -- a"):
        answer = await scientist.get("/api/conversations", params={"q": q})
        assert answer.status_code == 200, q
        assert len(answer.json()["items"]) == (0 if "DROP" in q else 1), q
    for q in ("", "   "):
        assert len((await scientist.get("/api/conversations", params={"q": q})).json()["items"]) == 1
    for q in ("x" * 10_000, " ".join(f"w{n}" for n in range(200))):
        answer = await scientist.get("/api/conversations", params={"q": q})
        assert (answer.status_code, answer.json()["code"]) == (422, "query_too_long")
    for bad in (
        {"after": "x"},
        {"after": "1_x_y"},
        {"folder": "x"},
        {"archived": "maybe"},
        {"q": "a", "after": "-1"},
        {"q": "a", "after": "９"},
    ):
        assert (await scientist.get("/api/conversations", params=bad)).status_code == 422, bad


async def test_what_was_written_before_the_index_is_indexed_by_the_job(site: Site) -> None:
    scientist = await site.client("scientist")
    await scientist.post("/api/chat/completion", json={"message": "Is the axolotl by PCR-02 ready?", "conversation_id": "old"})
    with psycopg.connect(site.services.db.url) as conn:
        conn.execute("DELETE FROM message_index")
        conn.execute("DELETE FROM title_index")
    assert (await scientist.get("/api/conversations", params={"q": "axolotl"})).json()["items"] == []
    await site.services.chat.backfill.run()
    await site.services.chat.backfill.run()
    items = (await scientist.get("/api/conversations", params={"q": "axolotl"})).json()["items"]
    assert [match["role"] for match in items[0]["matches"]] == [None, "user"]
