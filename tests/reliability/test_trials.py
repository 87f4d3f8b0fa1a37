"""The short version of the trials of `make torture`: nothing lost, raw, too large or too slow."""

from __future__ import annotations

import sys

import pytest

from tests.reliability.pieces import PARTS, SHORT, Piece, Place, pieces
from tests.reliability.tally import Tally

pytestmark = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="The trials need Linux")
PIECES = list(pieces(SHORT, PARTS))


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    made = Place(tmp_path_factory.mktemp("trials"))
    yield made
    made.close()


@pytest.mark.timeout(600)
@pytest.mark.parametrize("piece", PIECES, ids=[piece.name for piece in PIECES])
def test_nothing_is_lost_broken_raw_too_large_or_too_slow(piece: Piece, place: Place):
    tally = piece.run(place)
    if any(name.endswith("not possible here") for name in tally.counts):
        pytest.skip(next(name for name in tally.counts if name.endswith("not possible here")))
    assert sum(tally.counts.values()) > 0
    assert tally.complaint() == ""


def test_a_finding_is_counted_and_told():
    tally = Tally()
    tally.find("raw", "ValueError in a.py:f", {"traceback": "Traceback ..."})
    tally.find("raw", "ValueError in a.py:f", {"traceback": "another"})
    again = Tally.from_json(tally.to_json())
    again.merge(tally)
    assert again.number("raw") == 4
    assert "4 x raw: ValueError in a.py:f\nTraceback ..." in again.complaint()
