"""Documents of others: when they are fetched, and what happens when they cannot be."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field

import pytest

from acme_ca.https import FetchFailedError
from acme_ca.problems import ServiceUnavailable
from acme_ca.workload.documents import PAUSE, RENEWAL_GAP, Document, Documents, Origin
from tests.workload.proofs import refused

REFRESH, MAX_STALE = 300.0, 3600.0


@dataclass
class Place:
    """Where a document is, and a clock that moves by hand. With `stamp` it tells when it changed."""

    content: str = "first"
    down: bool = False
    stamp: int | None = None
    time: float = 1_000_000.0
    loads: list[float] = field(default_factory=list)
    gate: threading.Event = field(default_factory=threading.Event)
    loading: threading.Event = field(default_factory=threading.Event)

    def __post_init__(self) -> None:
        self.gate.set()

    def load(self) -> str:
        self.loads.append(self.time)
        self.loading.set()
        assert self.gate.wait(60)
        if self.down:
            raise FetchFailedError("the place is down")
        return self.content

    def told(self) -> object:
        if self.down:
            raise FetchFailedError("the place is down")
        return self.stamp

    def document(self, refresh: float = REFRESH, max_stale: float = MAX_STALE) -> Document[str]:
        stamp = None if self.stamp is None else self.told
        return Document(Origin(self.load, refresh, max_stale, stamp), lambda: self.time)


def test_a_document_is_kept_until_it_is_to_be_refreshed() -> None:
    place = Place()
    document = place.document()
    assert document.current() == "first"

    place.content = "second"
    place.time += REFRESH - 1
    assert document.current() == "first"
    place.time += 1
    assert document.current() == "second"

    assert len(place.loads) == 2


def test_what_cannot_be_refreshed_is_used_until_it_is_too_old() -> None:
    place = Place()
    document = place.document()
    document.current()

    place.down = True
    place.time += MAX_STALE
    assert document.current() == "first"
    place.time += 1
    assert refused(document.current) == ("provider_unavailable", "the place is down")

    place.down = False
    place.time += PAUSE
    assert document.current() == "first"


def test_an_outage_is_passing_trouble() -> None:
    place = Place(down=True)
    with pytest.raises(ServiceUnavailable) as refusal:
        place.document().current()

    assert refusal.value.status == 503
    assert refusal.value.headers["Retry-After"]


def test_a_place_that_is_down_is_left_alone_for_a_while() -> None:
    place = Place(down=True)
    document = place.document()
    for _ in range(5):
        assert refused(document.current)[0] == "provider_unavailable"
    assert len(place.loads) == 1

    place.down = False
    place.time += PAUSE
    assert document.current() == "first"


def test_a_document_that_is_refreshed_seldom_is_not_too_old_meanwhile() -> None:
    place = Place()
    document = place.document(refresh=300, max_stale=0)
    document.current()

    place.time += 299
    assert document.current() == "first"


def test_something_unknown_has_the_document_fetched_at_once_but_not_all_the_time() -> None:
    place = Place()
    document = place.document()
    document.current()

    place.content = "second"
    assert document.renewed() == "second"
    place.content = "third"
    place.time += RENEWAL_GAP - 1
    assert document.renewed() == "second"
    place.time += 1
    assert document.renewed() == "third"

    assert len(place.loads) == 3


def test_what_is_unknown_during_an_outage_is_not_refused_for_good() -> None:
    place = Place()
    document = place.document()
    document.current()

    place.down = True
    for _ in range(3):
        assert refused(document.renewed) == ("provider_unavailable", "the place is down")
        assert document.current() == "first"
    assert len(place.loads) == 2

    place.down = False
    place.content = "second"
    place.time += PAUSE
    assert document.renewed() == "second"


def test_a_stamp_tells_when_to_load_again() -> None:
    place = Place(stamp=1)
    document = place.document(refresh=0)
    document.current()

    place.content = "second"
    place.time += 10 * MAX_STALE
    assert document.current() == "first"
    place.stamp = 2
    assert document.current() == "second"
    assert len(place.loads) == 2


def test_a_file_that_is_gone_is_used_until_it_is_too_old() -> None:
    place = Place(stamp=1)
    document = place.document(refresh=0)
    document.current()
    place.time += 10 * MAX_STALE
    document.current()

    place.down = True
    place.time += MAX_STALE
    assert document.current() == "first"
    place.time += 1
    assert refused(document.current)[0] == "provider_unavailable"


def test_while_one_thread_fetches_the_others_use_what_is_there() -> None:
    place = Place()
    document = place.document()
    document.current()
    place.content = "second"
    place.time += REFRESH
    place.gate.clear()
    place.loading.clear()
    fetcher = threading.Thread(target=document.current)
    fetcher.start()
    assert place.loading.wait(60)

    assert document.current() == "first"

    place.gate.set()
    fetcher.join()
    assert document.current() == "second"
    assert len(place.loads) == 2


def test_threads_wait_for_the_first_fetch_and_for_something_unknown() -> None:
    for method in ("current", "renewed"):
        place = Place()
        document = place.document()
        place.gate.clear()
        found: list[str] = []
        threads = [threading.Thread(target=lambda: found.append(getattr(document, method)())) for _ in range(8)]  # noqa: B023 - joined below
        for thread in threads:
            thread.start()
        assert place.loading.wait(60)
        place.gate.set()
        for thread in threads:
            thread.join()

        assert found == ["first"] * 8
        assert len(place.loads) == 1


def test_documents_of_one_place_are_one() -> None:
    place = Place()
    documents: Documents[str] = Documents(lambda: place.time)
    origin = Origin(place.load, REFRESH, MAX_STALE)

    assert documents.at("here", origin) is documents.at("here", Origin(place.load, 1, 1))
    assert documents.at("here", origin) is not documents.at("there", origin)
    assert documents.at("here", origin).current() == "first"
