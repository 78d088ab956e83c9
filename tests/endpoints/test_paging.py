"""Laws of lists: pages joined are the whole, in any size and order, whatever moved before."""

from __future__ import annotations

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st
from support import World

SORTS = ["created_at", "-created_at", "updated_at", "-updated_at"]
moves = st.lists(
    st.one_of(
        st.tuples(st.just("new"), st.just(0), st.integers(0, 2)),
        st.tuples(st.sampled_from(["turn", "rename", "delete"]), st.integers(0, 9), st.integers(0, 2)),
    ),
    max_size=12,
)


def play(here: World, steps) -> list[str]:
    """Make conversations and move them about, some within one second; the ids that are left."""
    left: list[str] = []
    for what, which, seconds in steps:
        here.time.now += seconds
        if what == "new" or not left:
            left.append(here.chat("q").json["conversation_id"])
            continue
        known = left[which % len(left)]
        if what == "turn":
            here.chat("more", conversation_id=known)
        elif what == "rename":
            here.post(f"/conversations/{known}/name", {"name": "x", "user": "alice"})
        else:
            here.call("DELETE", f"/conversations/{known}", {"user": "alice"})
            left.remove(known)
    return left


def pages(here: World, path: str, limit: int, cursor: str, key=lambda data: data[-1]["id"]):
    """All pages of a list, each asked for behind the one before."""
    found, at = [], ""
    while True:
        said = here.get(f"{path}&limit={limit}{at}").json
        assert len(said["data"]) <= limit == said["limit"]
        found.append(said["data"])
        if not said["has_more"]:
            return found
        assert len(said["data"]) == limit
        at = f"&{cursor}={key(said['data'])}"


@given(moves, st.sampled_from(SORTS), st.integers(1, 7))
def test_pages_of_conversations_joined_are_the_whole_list(steps, sort, limit):
    here = World()
    left = play(here, steps)
    path = f"/conversations?user=alice&sort_by={sort}"
    whole = here.get(f"{path}&limit=100").json
    joined = [one["id"] for page in pages(here, path, limit, "last_id") for one in page]
    assert joined == [one["id"] for one in whole["data"]]
    assert sorted(joined) == sorted(left)
    field = sort.removeprefix("-")
    times = [one[field] for one in whole["data"]]
    assert times == sorted(times, reverse=sort.startswith("-"))
    assert whole["has_more"] is False


@given(moves)
def test_a_sort_and_its_reverse_are_mirrored(steps):
    here = World()
    play(here, steps)
    for field in ("created_at", "updated_at"):
        up, down = (
            [one["id"] for one in here.get(f"/conversations?user=alice&limit=100&sort_by={sign}{field}").json["data"]]
            for sign in ("", "-")
        )
        assert up == down[::-1]


@given(st.integers(0, 9), st.integers(1, 10))
def test_pages_of_messages_joined_are_the_whole_conversation(turns, limit):
    here = World()
    known = here.chat("0").json["conversation_id"]
    for turn in range(turns):
        here.chat(str(turn + 1), conversation_id=known)
    path = f"/messages?user=alice&conversation_id={known}"
    found = pages(here, path, limit, "first_id", key=lambda data: data[0]["id"])
    assert [message["query"] for page in reversed(found) for message in page] == [str(k) for k in range(turns + 1)]


@given(st.integers(0, 12), st.integers(1, 5))
def test_numbered_pages_joined_are_the_whole_list(count, limit):
    here = World()
    for _ in range(count):
        here.run()
        here.post("/apps/annotations", {"question": "q", "answer": "a"}, app="workflow")
        here.time.now += 1
    for path in ("/workflows/logs", "/apps/annotations"):
        found, page = [], 1
        while len(said := here.get(f"{path}?page={page}&limit={limit}", app="workflow").json["data"]):
            found += said
            page += 1
        assert len({one["id"] for one in found}) == count
        assert all(one["created_at"] >= other["created_at"] for one, other in pairwise(found))
