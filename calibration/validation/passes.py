"""The kinds of passes that a scenario has: for histories of each length, with the query's work or not."""

from __future__ import annotations

from dataclasses import dataclass

from calibration.runtime.lengths import of_length
from calibration.runtime.programme import Programme
from calibration.runtime.shared import Receiving, Sending, cut
from calibration.serving.inputs import Servable
from perfmodel.planning.query_times import grouped_lengths
from perfmodel.planning.question import Question
from perfmodel.sim.arrays import FloatArray


@dataclass(frozen=True, slots=True)
class Passes:
    """What runs each variety of pass; empty: all are alike.

    Attributes
    ----------
    by_variety : tuple of Servable
        By length, with and without the query's work by turns.
    shares : (kinds,) float, or None
        How often each length comes; None: there is one. [1]
    shared_bytes : int
        What is sent on of a query, of the longest history. [bytes/query]
    """

    by_variety: tuple[Servable, ...] = ()
    shares: FloatArray | None = None
    shared_bytes: int = 0


def passes_of(question: Question, programme: Programme) -> Passes:
    """Make a pass for each length that the simulation knows, all on the same weights.

    Raises
    ------
    InputError
        If a call's weights depend on the length.
    """
    law, shares = question.serving_node.lengths, None
    programmes = [programme]
    if law is not None:
        lengths, shares = grouped_lengths(law)
        programmes = [of_length(programme, int(length)) for length in lengths]
    if question.policy.share_query_work:
        halves = [cut(each) for each in programmes]
        each = tuple(one for half in halves for one in (Sending(half), Receiving(half)))
        return Passes(each, shares, max(half.num_bytes for half in halves))
    if law is None:
        return Passes()
    return Passes(tuple(one for each in programmes for one in (each, each)), shares)
