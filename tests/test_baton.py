"""The baton: one thread at a time works, and nobody waits for a thread that itself waits."""

from __future__ import annotations

import threading

import pytest

from acme_ca import baton


def in_thread(work: threading.Event, done: threading.Event) -> threading.Thread:
    def go() -> None:
        with baton.held():
            work.set()
            done.wait(10)

    thread = threading.Thread(target=go)
    thread.start()
    return thread


def test_the_second_one_begins_when_the_first_one_lays_it_aside() -> None:
    work, done = threading.Event(), threading.Event()
    with baton.held():
        thread = in_thread(work, done)
        assert not work.wait(0.05)
        with baton.aside():
            assert work.wait(10)
            done.set()
    thread.join(10)
    assert not thread.is_alive()


def test_holding_twice_and_laying_aside_nothing_are_harmless() -> None:
    with baton.aside(), baton.aside():
        pass
    with baton.held(), baton.held():
        pass
    with baton.held():  # it was laid down
        pass


def test_it_is_laid_down_after_a_failure() -> None:
    for manager in (baton.held, baton.aside):
        with pytest.raises(LookupError), baton.held(), manager():
            raise LookupError
    work, done = threading.Event(), threading.Event()
    done.set()
    in_thread(work, done).join(10)
    assert work.is_set()
