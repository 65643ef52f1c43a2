"""Folders, archive, pins and automatic titles, over HTTP; the shape of the tree and titles by property."""

import asyncio
import itertools
from typing import Any

import httpx2
import psycopg
import pytest
from hypothesis import given
from hypothesis import strategies as st

from aliquot.chat.folders.tree import clean_name, height, same_name_key, way_up
from aliquot.chat.titles import TITLE_CHARS, title_of
from aliquot.kernel.ids import new_id
from tests.conftest import Urls
from tests.site import Seeded, Site, running_site


async def make(client: httpx2.AsyncClient, name: str, **body: Any) -> dict[str, Any]:
    answer = await client.post("/api/folders", json={"name": name, **body})
    assert answer.status_code == 201, answer.text
    return dict(answer.json())


async def refused(answer: Any) -> tuple[int, str]:
    return (await answer).status_code, (await answer).json()["code"]


def shape(items: list[dict[str, Any]]) -> dict[str, Any]:
    return {f["name"]: shape(f["children"]) for f in items}


async def test_folders_are_made_changed_moved_and_deleted(site: Site) -> None:
    scientist, viewer = await site.client("scientist"), await site.client("viewer")
    pcr = await make(scientist, "  PCR  runs ", color="#00AAff", icon="flask")
    assert (pcr["name"], pcr["color"], pcr["icon"], pcr["parent_folder_id"]) == ("PCR  runs", "#00aaff", "flask", None)
    march = await make(scientist, "March", parentFolderId=pcr["id"])
    april = await make(scientist, "April", parent_id=pcr["id"], colour="#123456")
    other = await make(scientist, "march")
    assert shape((await scientist.get("/api/folders")).json()["items"]) == {"march": {}, "PCR  runs": {"April": {}, "March": {}}}

    for body in ({"name": "MARCH", "parent_folder_id": pcr["id"]}, {"name": "Ｍａｒｃｈ"}, {"name": "MÄRZ"}, {"name": "ma\u0308rz"}):
        answer = await scientist.post("/api/folders", json=body)
        assert (answer.status_code, answer.json().get("code")) in ((409, "folder_name_taken"), (201, None)), body
        assert (answer.status_code == 201) == (body["name"] == "MÄRZ"), body

    patch = f"/api/folders/{other['id']}"
    taken = await scientist.patch(patch, json={"name": "PCR  RUNS"})
    assert (taken.status_code, taken.json()["code"]) == (409, "folder_name_taken")
    assert (await scientist.patch(patch, json={"parent_folder_id": pcr["id"]})).json()["code"] == "folder_name_taken"
    moved = await scientist.patch(patch, json={"name": "May", "parent_folder_id": march["id"], "color": "#ffffff"})
    assert (moved.json()["name"], moved.json()["parent_folder_id"], moved.json()["color"]) == ("May", march["id"], "#ffffff")
    assert (await scientist.patch(patch, json={"color": None})).json()["color"] is None
    for target in (march["id"], other["id"]):
        cycle = await scientist.patch(f"/api/folders/{march['id']}", json={"parent_folder_id": target})
        assert (cycle.status_code, cycle.json()["code"]) == (409, "folder_cycle")

    for answer in (
        await viewer.patch(patch, json={"name": "x"}),
        await viewer.delete(patch),
        await viewer.post("/api/folders", json={"name": "x", "parent_folder_id": pcr["id"]}),
    ):
        assert (answer.status_code, answer.json()["code"]) == (404, "unknown_folder")
    assert (await viewer.get("/api/folders")).json() == {"items": [], "unfiled": 0}

    await make(scientist, "april")
    for n, folder in enumerate((pcr, pcr, april)):
        await scientist.post("/api/conversations", json={"client_id": f"c{n}", "title": f"t{n}"})
        filed = await scientist.put(f"/api/conversations/c{n}/folder", json={"folder_id": folder["id"]})
        assert filed.json()["folder_id"] == folder["id"]
    await scientist.delete("/api/conversations/c1")
    deleted = (await scientist.delete(f"/api/folders/{pcr['id']}")).json()
    assert (deleted["moved_folders"], deleted["moved_conversations"], deleted["parent_folder_id"]) == (2, 1, None)
    assert [r["name"] for r in deleted["renamed"]] == ["April (2)"]
    tree = (await scientist.get("/api/folders")).json()
    assert shape(tree["items"]) == {"april": {}, "April (2)": {}, "MÄRZ": {}, "March": {"May": {}}}
    assert tree["unfiled"] == 1
    assert next(f["conversations"] for f in tree["items"] if f["name"] == "April (2)") == 1
    assert (await scientist.get("/api/conversations/c0")).json()["folder_id"] is None


async def test_bad_folders_are_refused_and_a_repeated_key_makes_one(seeded_urls: Urls, seeded: Seeded, tmp_path: Any) -> None:
    limits = {"folders_per_person": 6, "folder_depth": 3, "pinned_conversations": 1}
    async with running_site(seeded_urls, tmp_path / "data", seeded, shutdown_seconds=0.2, limits=limits) as site:
        scientist = await site.client("scientist")
        for body in (
            {"name": ""}, {"name": "   "}, {"name": "x" * 256}, {"name": "a\u0000b"}, {"name": "a\nb"}, {"name": "\u202egpj.exe"}, {},
            {"name": "a", "color": "red"}, {"name": "a", "color": "#12345"}, {"name": "a", "color": "#12345g"},
            {"name": "a", "icon": "<svg>"},
            {"name": "a", "icon": "x" * 51}, {"name": "a", "parent_folder_id": "x"}, {"name": "a", "surprise": 1}, {"name": 5},
        ):  # fmt: skip
            assert (await scientist.post("/api/folders", json=body)).status_code == 422, body
        key = {"Idempotency-Key": "k"}
        both = [await scientist.post("/api/folders", json={"name": "one"}, headers=key) for _ in range(2)]
        assert [a.status_code for a in both] == [201, 200]
        assert both[0].json() == both[1].json()
        assert (await scientist.post("/api/folders", json={"name": "two"}, headers=key)).status_code == 422
        two = await make(scientist, "two", parent_folder_id=both[0].json()["id"])
        three = await make(scientist, "three", parent_folder_id=two["id"])
        deep = await scientist.post("/api/folders", json={"name": "four", "parent_folder_id": three["id"]})
        assert (deep.status_code, deep.json()["code"]) == (422, "folder_too_deep")
        top = await make(scientist, "top")
        deep = await scientist.patch(f"/api/folders/{both[0].json()['id']}", json={"parent_folder_id": top["id"]})
        assert (deep.status_code, deep.json()["code"]) == (422, "folder_too_deep")
        made = await asyncio.gather(*(scientist.post("/api/folders", json={"name": f"n{n}"}) for n in range(6)))
        assert sorted(a.status_code for a in made) == [201, 201, 409, 409, 409, 409]
        await _pins_are_bounded(scientist)


async def _pins_are_bounded(scientist: httpx2.AsyncClient) -> None:
    for n in range(2):
        await scientist.post("/api/conversations", json={"client_id": f"c{n}"})
    assert (await scientist.patch("/api/conversations/c0", json={"pinned": True})).status_code == 200
    assert (await scientist.patch("/api/conversations/c0", json={"pinned": True})).status_code == 200
    full = await scientist.patch("/api/conversations/c1", json={"pinned": True, "title": "not this either"})
    assert (full.status_code, full.json()["code"]) == (409, "too_many_pinned")
    assert (await scientist.get("/api/conversations/c1")).json()["title"] is None


async def test_moves_at_once_never_make_a_cycle_or_a_second_name(site: Site) -> None:
    scientist = await site.client("scientist")
    folders = [await make(scientist, f"f{n}") for n in range(4)]
    ids = [f["id"] for f in folders]
    await asyncio.gather(
        *(scientist.patch(f"/api/folders/{a}", json={"parent_folder_id": b}) for a, b in itertools.permutations(ids, 2)),
        *(scientist.post("/api/folders", json={"name": "Same"}) for _ in range(4)),
    )
    tree = (await scientist.get("/api/folders")).json()["items"]

    def count(items: list[dict[str, Any]]) -> int:
        return sum(1 + count(f["children"]) for f in items)

    assert count(tree) == 5  # a folder in a cycle hangs from nothing and would be missing
    deletes = [scientist.delete(f"/api/folders/{i}") for i in ids[:2]]
    await scientist.post("/api/conversations", json={"client_id": "c"})
    files = [scientist.put("/api/conversations/c/folder", json={"folder_id": i}) for i in ids[:2] * 2]
    answers = await asyncio.gather(*files, *deletes)
    assert {a.status_code for a in answers} <= {200, 404}
    assert (await scientist.get("/api/conversations/c")).status_code == 200


async def test_conversations_are_arranged_and_listed(site: Site) -> None:
    scientist = await site.client("scientist")
    folder = await make(scientist, "canary-folder-5e1f")
    for n in range(5):
        await scientist.post("/api/conversations", json={"client_id": f"c{n}", "title": f"t{n}"})

    async def listed(**params: Any) -> list[str]:
        names, after = [], None
        while True:
            page = (await scientist.get("/api/conversations", params=params | ({"after": after} if after else {}))).json()
            names += [c["client_id"] for c in page["items"]]
            after = page["next"]
            if after is None:
                return names

    changed = await scientist.patch("/api/conversations/c1", json={"pinned": True, "folder_id": folder["id"]})
    assert (changed.json()["pinned"], changed.json()["folder_id"], changed.json()["title"]) == (True, folder["id"], "t1")
    await scientist.patch("/api/conversations/c3", json={"archived": True})
    assert await listed(limit=2) == ["c1", "c4", "c2", "c0"]
    assert await listed(archived="true") == ["c3"]
    assert await listed(archived="all", limit=1) == ["c1", "c4", "c3", "c2", "c0"]
    assert await listed(folder=folder["id"]) == ["c1"]
    assert await listed(folder="none") == ["c4", "c2", "c0"]
    assert await listed(folder=str(new_id())) == []
    await scientist.patch("/api/conversations/c3", json={"archived": False})
    await scientist.patch("/api/conversations/c1", json={"pinned": False})
    assert await listed() == ["c4", "c3", "c2", "c1", "c0"]
    for body in ({"title": ""}, {"pinned": None}, {"archived": "x"}, {"colour": "x"}, {"title": None}):
        assert (await scientist.patch("/api/conversations/c1", json=body)).status_code == 422, body
    missing = await scientist.put("/api/conversations/c1/folder", json={"folder_id": str(new_id())})
    assert (missing.status_code, missing.json()["code"]) == (404, "unknown_folder")
    assert (await (await site.client("viewer")).put("/api/conversations/c1/folder", json={"folder_id": None})).status_code == 404
    with psycopg.connect(site.services.db.url) as conn:
        dump = "".join(
            str(row) for table in ("folder", "conversation", "title_index") for row in conn.execute(f"SELECT t::text FROM {table} t")
        )
    assert "canary-folder" not in dump
    assert b"canary-folder".hex() not in dump


async def test_a_conversation_is_named_after_what_it_is_about_unless_somebody_named_it(site: Site) -> None:
    scientist = await site.client("scientist")

    async def title(message: str, conversation: str) -> str:
        await scientist.post("/api/chat/completion", json={"message": message, "conversation_id": conversation})
        return str((await scientist.get(f"/api/conversations/{conversation}")).json()["title"])

    assert await title("Hello!", "a") == "Hello!"
    assert await title("Could you please tell me if PCR-02 is ready? Thanks", "a") == "If PCR-02 is ready?"
    assert await title("Is HPLC-03 ready?", "a") == "If PCR-02 is ready?"
    await scientist.post("/api/conversations", json={"client_id": "b"})
    assert await title("Is HPLC-03 ready?", "b") == "Is HPLC-03 ready?"
    await scientist.patch("/api/conversations/b", json={"title": "hi"})
    assert await title("Is PCR-02 ready?", "b") == "hi"


@pytest.mark.parametrize(
    ("message", "title"),
    [
        ("Hi! Could you please show me the run of PCR-02? Thanks!", "The run of PCR-02?"),
        ("Dear Ada,\n\nI'd like to know the yield of mRNA-7. Many thanks", "The yield of mRNA-7"),
        ("pH of buffer A", "pH of buffer A"),
        ("well plate A3 is empty", "Well plate A3 is empty"),
        ("all samples failed", "All samples failed"),
        ("Guten Tag, könnten Sie mir bitte sagen, ob HPLC-03 läuft?", "HPLC-03 läuft?"),
        ("# Report\n\ntext", "Report"),
        ("```python\nprint(1)\n```", "Print(1)"),
        ("**Lot** `B-17` expired", "Lot B-17 expired"),
        ("Please, please help. The centrifuge is loud.", "The centrifuge is loud"),
        ("thanks", "thanks"),
        ("word " * 40, "Word" + " word" * 14 + "…"),
        ("a\u202eb\x00c", "Abc"),
    ],
)
def test_titles(message: str, title: str) -> None:
    assert title_of(message) == title


@given(st.text(max_size=300) | st.text("hi.,!? \n`*#please", max_size=300))
def test_a_title_is_one_short_line(message: str) -> None:
    title = title_of(message)
    assert len(title) <= TITLE_CHARS
    assert "\n" not in title
    assert bool(title) or not any(c.isalnum() for c in message)


@given(st.lists(st.integers(0, 30), max_size=12))
def test_way_up_and_height_agree(choices: list[int]) -> None:
    """In any tree, a folder's way up and what hangs below it add up to the depth of its deepest descendant."""
    ids = [new_id() for _ in choices]
    parents = {folder: (ids[c] if c < n else None) for n, (folder, c) in enumerate(zip(ids, choices, strict=True))}
    for folder in ids:
        below = [other for other in ids if folder in way_up(parents, other)]
        assert len(way_up(parents, folder)) + height(parents, folder) - 1 == max(len(way_up(parents, other)) for other in below)


@given(st.text(max_size=60))
def test_names_that_look_the_same_are_the_same(name: str) -> None:
    cleaned = clean_name(name)
    if cleaned is not None:
        assert clean_name(cleaned) == cleaned
        assert same_name_key(cleaned.swapcase().casefold()) == same_name_key(cleaned.casefold())
