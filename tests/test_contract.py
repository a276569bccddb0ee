"""What every registered system promises (`genzoo.testing`): every promise of every name. A skip is by missing capability, never by name."""

from __future__ import annotations

import pytest

from genzoo import testing
from genzoo.naming import registry
from genzoo.testing import PROMISES, Skip, case_of

OF_PRESETS = [p for p in PROMISES if p.presets]
OF_SYSTEMS = [p for p in PROMISES if not p.presets]


def ask(promise: testing.Promise, name: str) -> None:
    try:
        promise.check(case_of(name))
    except Skip as reason:
        pytest.skip(str(reason))


@pytest.mark.parametrize("name", sorted(registry.names()))
@pytest.mark.parametrize("promise", OF_PRESETS, ids=lambda p: p.name)
def test_every_name_keeps(promise, name):
    ask(promise, name)


@pytest.mark.parametrize("name", sorted(registry.entries()))
@pytest.mark.parametrize("promise", OF_SYSTEMS, ids=lambda p: p.name)
def test_every_system_keeps(promise, name):
    ask(promise, name)


def test_every_promise_is_a_sentence_of_its_own():
    sentences = [p.sentence for p in PROMISES]
    assert len(set(sentences)) == len({p.name for p in PROMISES}) == len(PROMISES) > 30
    assert all(s.endswith(".") and s[0].isupper() for s in sentences)
