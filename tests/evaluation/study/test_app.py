"""The study's pages over HTTP: who may see what, what counts, and what attackers get."""

import dataclasses
import datetime as dt
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from starlette.testclient import TestClient

from evaluation.study.app import create_app
from evaluation.study.credentials import Credentials, Play, load_credentials, make_credentials
from evaluation.study.database import sqlite_url
from evaluation.study.desk import Desk
from evaluation.study.document import Mode, Study
from evaluation.study.guards import MAX_BODY
from evaluation.study.storage import Store
from tests.evaluation.study.small import clip_id, one_gold, one_training, study_of

BASE = "http://study.test"
OWNER = "an owner's token, which has thirty-two characters"
KEYS = Credentials("a signing key of at least thirty-two characters", OWNER)
STUDY = study_of(2, 3, training=one_training(), gold=one_gold(motion_quality=(1, 2)), repeats=1)
ALL_THREE = dict.fromkeys((d.name for d in STUDY.dimensions), 3)


class Clock:
    """Time that passes when a test says so."""

    now = 1_000_000.0

    def __call__(self) -> float:
        return self.now


@dataclasses.dataclass
class Site:
    """A served study and its clock."""

    desk: Desk
    clock: Clock
    base: str = BASE

    def browser(self, **settings: Any) -> TestClient:
        app = create_app(self.desk, self.base)
        return TestClient(app, base_url=self.base, follow_redirects=False, **settings)

    def link(self, rater: str | None = None, days: float = 1) -> str:
        name, edition = self.desk.store.invite(self.clock.now + days * 86400, rater)
        return f"/join/{KEYS.invitation(name, edition)}"


def site_of(folder: Path, study: Study, base: str = BASE) -> Site:
    (folder / "videos").mkdir()
    for number, clip in enumerate(study.clips):
        content = number.to_bytes(2) * 500
        (folder / "videos" / f"{clip}.mp4").write_bytes(content)
    clock = Clock()
    return Site(Desk(study, folder, Store(sqlite_url(folder)), KEYS, clock), clock, base)


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    made = site_of(tmp_path, STUDY)
    yield made
    made.desk.store.close()


class Rater:
    """A person with a browser, or a program that pretends to be one."""

    def __init__(self, site: Site, link: str | None = None) -> None:
        self.site, self.client = site, site.browser()
        self.link = link or site.link()
        self.token = self.begin()

    def begin(self) -> str:
        welcome = self.client.get(self.link)
        assert welcome.status_code == 200, welcome.text
        form = between(welcome.text, 'name="form_token" value="', '"')
        joined = self.client.post(self.link, data={"form_token": form})
        assert (joined.status_code, joined.headers["location"]) == (303, "/rate")
        return between(self.client.get("/rate").text, 'name="form-token" content="', '"')

    def post(self, path: str, **content: Any) -> Any:
        return self.client.post(path, json=content, headers={"x-form-token": self.token})

    def task(self) -> dict[str, Any]:
        found: dict[str, Any] = self.client.get("/api/task").json()
        return found

    def watch(self, task: int, slot: int = 0, seconds: float = 2.0) -> int:
        began = self.post("/api/play", task=task, slot=slot)
        if began.status_code != 200:
            return int(began.status_code)
        self.site.clock.now += seconds
        return int(self.post("/api/played", **began.json()).status_code)

    def say(self, task: int, **changes: Any) -> Any:
        return self.post("/api/answer", task=task, scores=ALL_THREE | changes)


def between(text: str, before: str, after: str) -> str:
    return text.split(before, 1)[1].split(after, 1)[0]


def test_a_rater_goes_through_the_whole_study(site: Site) -> None:
    rater = Rater(site)
    first = rater.task()
    assert first["practice"]
    total = first["total"]
    assert total == 1 + 6 + 1 + 1
    for number in range(total):
        task = rater.task()
        assert (task["task"], task["done"], task["played"]) == (number, number, [])
        assert set(task) == {
            "done", "total", "training", "finished", "task", "practice", "prompt", "seconds",
            "played",
        }  # fmt: skip
        assert rater.watch(number) == 200
        said = rater.say(number)
        assert said.status_code == 200
        assert (said.json()["note"] is None) == (number > 0)
    assert rater.task() == {"done": total, "total": total, "training": 1, "finished": True}
    assert len(site.desk.store.answers()) == total


def test_an_answer_needs_a_video_that_has_played_to_its_end(site: Site) -> None:
    rater = Rater(site)
    assert rater.say(0).status_code == 409
    assert rater.watch(0, seconds=1.5) == 425  # a script that skips to the end
    assert rater.say(0).status_code == 409
    play = rater.post("/api/play", task=0, slot=0).json()["play"]
    site.clock.now += 1
    assert rater.post("/api/played", play=play).status_code == 425
    site.clock.now += 1
    assert rater.post("/api/played", play=play).status_code == 200
    assert rater.task()["played"] == [0]
    assert rater.say(0).status_code == 200


def test_plays_cannot_be_forged_borrowed_or_brought_to_another_task(site: Site) -> None:
    rater, other = Rater(site), Rater(site)
    play = other.post("/api/play", task=0, slot=0).json()["play"]
    site.clock.now += 10
    assert rater.post("/api/played", play=play).status_code == 403
    assert rater.post("/api/played", play=play[:-2] + "AA").status_code == 403
    forged = Credentials("x" * 40, OWNER).play(Play("R001", 0, 0, 0.0))
    assert rater.post("/api/played", play=forged).status_code == 403
    invitation = KEYS.invitation("R001", 1)
    assert rater.post("/api/played", play=invitation).status_code == 403
    assert rater.watch(1) == 409  # not yet
    assert rater.watch(0) == 200
    assert rater.say(1).status_code == 409
    assert site.desk.store.answers() == []


def test_both_videos_of_a_pair_must_be_played(tmp_path: Path) -> None:
    site = site_of(tmp_path, study_of(2, 2, mode=Mode.PAIRWISE))
    rater = Rater(site)
    prefer = dict.fromkeys(ALL_THREE, -1)
    assert rater.watch(0, slot=0) == 200
    assert rater.post("/api/answer", task=0, scores=prefer).status_code == 409
    assert rater.watch(0, slot=1) == 200
    assert rater.post("/api/answer", task=0, scores=ALL_THREE).status_code == 422
    assert rater.post("/api/answer", task=0, scores=prefer).status_code == 200
    site.desk.store.close()


def test_an_answer_sent_twice_is_one_answer(site: Site) -> None:
    """A phone that did not hear back sends again; a changed answer is another matter."""
    rater = Rater(site)
    rater.watch(0)
    assert rater.say(0).status_code == 200
    assert rater.say(0).status_code == 200
    changed = rater.say(0, motion_quality=5)
    assert (changed.status_code, "first answer stays" in changed.text) == (409, True)
    (answer,) = site.desk.store.answers()
    assert answer.scores == ALL_THREE


@pytest.mark.parametrize(
    "scores",
    [
        {}, ALL_THREE | {"motion_quality": 6}, ALL_THREE | {"motion_quality": 0},
        ALL_THREE | {"motion_quality": "5"}, ALL_THREE | {"motion_quality": 2.5},
        ALL_THREE | {"motion_quality": True}, ALL_THREE | {"x'; drop table answers; --": 3},
        [3, 3, 3, 3], None, {"motion_quality": 10**30},
    ],
)  # fmt: skip
def test_other_answers_are_refused(site: Site, scores: Any) -> None:
    rater = Rater(site)
    rater.watch(0)
    assert rater.post("/api/answer", task=0, scores=scores).status_code == 422
    assert site.desk.store.answers() == []


def test_everything_survives_a_restart(site: Site) -> None:
    rater = Rater(site)
    rater.watch(0)
    rater.say(0)
    began = rater.post("/api/play", task=1, slot=0).json()
    cookies = rater.client.cookies
    rater.client = site.browser()  # a new server process, the same browser
    rater.client.cookies = cookies
    site.clock.now += 2
    assert rater.post("/api/played", **began).status_code == 200
    assert rater.task()["task"] == 1
    assert rater.say(1).status_code == 200


def test_a_link_is_for_one_browser(site: Site) -> None:
    link = site.link()
    rater = Rater(site, link)
    stolen = site.browser()
    form = between(stolen.get(link).text, 'name="form_token" value="', '"')
    refused = stolen.post(link, data={"form_token": form})
    assert refused.status_code == 409
    assert "used in another browser" in refused.text
    assert stolen.get("/rate").status_code == 401
    again = rater.client.get(link)
    assert (again.status_code, again.headers["location"]) == (303, "/rate")
    renewed = Rater(site, site.link("R001"))
    assert rater.client.get("/api/task").status_code == 401  # the old browser is out
    assert renewed.task()["task"] == 0


def test_looking_at_a_link_does_not_take_it(site: Site) -> None:
    """Mail programs open links to look at them."""
    link = site.link()
    assert site.browser().get(link).status_code == 200
    assert Rater(site, link).task()["task"] == 0


def test_two_raters_may_share_a_browser_one_after_the_other(site: Site) -> None:
    first = Rater(site)
    first.watch(0)
    first.say(0)
    second = Rater.__new__(Rater)
    second.site, second.client, second.link = site, first.client, site.link()
    assert second.client.get(second.link).status_code == 200
    assert first.task()["task"] == 1  # to look at somebody's link changes nothing
    second.token = second.begin()
    assert second.task()["task"] == 0


@pytest.mark.parametrize("token", ["x", "W10.x", "W10.W10.W10", "%2e%2e%2fowner", "a" * 5000])
def test_forged_links_open_nothing(site: Site, token: str) -> None:
    forged = Credentials("another key of thirty-two characters", OWNER).invitation("R001", 1)
    site.link()
    for attempt in (token, forged, KEYS.play(Play("R001", 0, 0, 0.0))):
        client = site.browser()
        assert client.get(f"/join/{attempt}").status_code in (403, 404)
        assert client.post(f"/join/{attempt}").status_code in (403, 404)
        assert client.get("/rate").status_code == 401


def test_links_and_sessions_expire(site: Site) -> None:
    unused, used = site.link(days=1), Rater(site, site.link(days=1))
    site.clock.now += 86401
    late = site.browser().get(unused)
    assert (late.status_code, "no longer valid" in late.text) == (410, True)
    assert used.client.get("/api/task").status_code == 401
    assert used.say(0).status_code == 401


def test_other_sites_cannot_act_for_a_rater(site: Site) -> None:
    rater = Rater(site)
    rater.watch(0)
    content = {"task": 0, "scores": ALL_THREE}
    for headers in (
        {},
        {"x-form-token": "0" * 64},
        {"x-form-token": Rater(site).token},
        {"x-form-token": "ü".encode("latin-1")},
        {"x-form-token": rater.token, "origin": "https://evil.example"},
        {"x-form-token": rater.token, "origin": "null"},
        {"x-form-token": rater.token, "sec-fetch-site": "cross-site"},
    ):
        refused = rater.client.post("/api/answer", json=content, headers=headers)
        assert refused.status_code == 403, headers
    assert site.desk.store.answers() == []
    fresh = site.link()
    assert site.browser().post(fresh, data={"form_token": "0" * 64}).status_code == 403
    assert site.browser().post(fresh).status_code == 403


def test_nothing_is_seen_without_a_session(site: Site) -> None:
    client = site.browser()
    for path in ("/rate", "/api/task", "/video/0/0"):
        assert client.get(path).status_code == 401
    client.cookies.set("tempo-rater", "guessed")
    assert client.get("/api/task").status_code == 401
    for path in ("/docs", "/openapi.json", "/study.json", "/study.db", "/secrets.json", "/videos/"):
        assert client.get(path).status_code == 404


def test_raters_see_their_own_videos_only_when_it_is_time(site: Site) -> None:
    rater = Rater(site)
    shown = rater.client.get("/video/0/0")
    assert (shown.status_code, shown.headers["content-type"]) == (200, "video/mp4")
    assert (
        shown.content == (site.desk.folder / "videos" / f"{clip_id('training')}.mp4").read_bytes()
    )
    for path in (
        "/video/1/0", "/video/0/1", "/video/-1/0", "/video/99/0", "/video/0/-1",
        "/video/..%2f..%2fstudy.json/0", "/video/0/..%2f..%2fsecrets.json",
        "/video/../../secrets.json", "/static/..%2fapp.py", "/static/../pages.py",
        "/static/report.html", "/static/rate.html",
    ):  # fmt: skip
        refused = rater.client.get(path)
        assert refused.status_code in (404, 422), path
        assert "key" not in refused.text


def test_video_ranges(site: Site) -> None:
    client = Rater(site).client
    whole = client.get("/video/0/0").content
    part = client.get("/video/0/0", headers={"range": "bytes=10-19"})
    assert (part.status_code, part.content) == (206, whole[10:20])
    assert part.headers["content-range"] == f"bytes 10-19/{len(whole)}"
    tail = client.get("/video/0/0", headers={"range": "bytes=-5"})
    assert (tail.status_code, tail.content) == (206, whole[-5:])
    assert client.get("/video/0/0", headers={"range": "bytes=5000-"}).status_code == 416
    assert client.head("/video/0/0").headers["accept-ranges"] == "bytes"


def test_headers_of_a_repeat_do_not_give_it_away(site: Site) -> None:
    rater = Rater(site)
    seen = []
    while not (task := rater.task())["finished"]:
        headers = rater.client.get(f"/video/{task['task']}/0").headers
        seen.append((headers["etag"], headers["last-modified"]))
        rater.watch(task["task"])
        rater.say(task["task"])
    assert len({etag for etag, _ in seen}) == len(seen)
    assert len({modified for _, modified in seen}) == 1


def test_results_are_the_owners(site: Site) -> None:
    rater = Rater(site)
    places = ("/owner/report", "/owner/results.json")
    for client in (site.browser(), rater.client):
        assert client.get("/owner").status_code == 401
        assert STUDY.title not in client.get("/owner").text
        for place in places:
            for headers in (
                {}, {"authorization": "Bearer "}, {"authorization": f"Bearer {OWNER[:-1]}"},
                {"authorization": f"Basic {OWNER}"}, {"cookie": "tempo-owner=owner"},
                {"cookie": f"tempo-owner={OWNER}"}, {"authorization": "Bearer ü".encode("latin-1")},
            ):  # fmt: skip
                refused = client.get(place, headers=headers)
                assert refused.status_code == 401, headers
                assert "system 0" not in refused.text
        assert client.post("/owner", data={"token": "guessed"}).status_code == 401
    owner = site.browser()
    for place in places:
        shown = owner.get(place, headers={"authorization": f"Bearer {OWNER}"})
        assert (shown.status_code, "system 0" in shown.text) == (200, True)
    entered = owner.post("/owner", data={"token": OWNER})
    assert (entered.status_code, entered.headers["location"]) == (303, "/owner")
    assert OWNER not in entered.headers["set-cookie"]
    assert "0 of 9" in owner.get("/owner").text
    assert owner.get("/owner/report").status_code == 200


def test_cookies_and_headers_fence_the_pages_in(tmp_path: Path) -> None:
    site = site_of(tmp_path, STUDY, "https://study.test")
    client = site.browser()
    welcome = client.get(site.link())
    cookie = welcome.headers["set-cookie"].lower()
    assert cookie.startswith("__host-tempo-rater=")
    for word in ("httponly", "secure", "samesite=lax", "path=/"):
        assert word in cookie
    owner = client.post("/owner", data={"token": OWNER}).headers["set-cookie"].lower()
    for word in ("__host-tempo-owner=", "httponly", "secure", "samesite=strict"):
        assert word in owner
    for answer in (
        welcome,
        client.get("/nothing"),
        client.post("/owner"),
        site.browser().get("/owner/report"),
    ):
        headers = answer.headers
        assert headers["content-security-policy"].startswith("default-src 'none'")
        assert "unsafe" not in headers["content-security-policy"]
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["cache-control"] == "no-store"
        assert "strict-transport-security" in headers
        assert "server" not in headers
    report = client.get("/owner/report")
    assert report.headers["content-security-policy"] == "frame-ancestors 'none'"
    policy = between(report.text, 'Content-Security-Policy" content="', '"')
    assert policy.startswith("default-src 'none'")
    assert "unsafe" not in policy
    site.desk.store.close()


def test_other_hosts_and_long_bodies_are_refused(site: Site) -> None:
    rater = Rater(site)
    assert rater.client.get("/", headers={"host": "evil.example"}).status_code == 400
    long = rater.client.post("/api/answer", content=b"x" * (MAX_BODY + 1))
    assert long.status_code == 413
    pieces = iter([b"x" * MAX_BODY, b"x"])
    assert rater.client.post("/api/answer", content=pieces).status_code == 413
    assert rater.post("/api/answer", task=0).status_code == 422


def test_words_of_a_study_are_shown_and_not_run(tmp_path: Path) -> None:
    hostile = "<img src=x onerror=alert(1)>"
    site = site_of(tmp_path, study_of(2, 2, title=hostile))
    rater = Rater(site)
    owner = site.browser(headers={"authorization": f"Bearer {OWNER}"})
    for page in (
        rater.client.get("/rate"), site.browser().get(site.link()), owner.get("/owner"),
        owner.get("/owner/report"),
    ):  # fmt: skip
        assert page.status_code == 200
        assert hostile not in page.text
        assert "&lt;img" in page.text
    site.desk.store.close()


def test_secrets_are_for_one_user(tmp_path: Path) -> None:
    path = make_credentials(tmp_path)
    assert path.stat().st_mode & 0o777 == 0o600
    found = load_credentials(tmp_path)
    make_credentials(tmp_path)
    assert load_credentials(tmp_path) == found
    assert found.key not in repr(found)
    path.chmod(0o644)
    with pytest.raises(ValueError, match="chmod 600"):
        load_credentials(tmp_path)
    path.write_text("[]")
    path.chmod(0o600)
    with pytest.raises(ValueError, match="not the secrets"):
        load_credentials(tmp_path)


def test_an_owners_session_ends(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    cookie = KEYS.owner_session()
    assert KEYS.is_owner_session(cookie)
    assert not dataclasses.replace(KEYS, owner_token="b" * 40).is_owner_session(cookie)
    later = dt.datetime.now(dt.UTC).timestamp() + 13 * 3600
    monkeypatch.setattr("itsdangerous.timed.time.time", lambda: later)
    assert not KEYS.is_owner_session(cookie)
    assert (
        site.browser().get("/owner", headers={"cookie": f"tempo-owner={cookie}"}).status_code == 401
    )
