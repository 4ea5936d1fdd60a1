"""Answers as Python gets them: with the JSON document of their command beside the figures."""

from __future__ import annotations

from dataclasses import fields
from typing import Any

from perfmodel.planning import breakdown
from perfmodel.planning.predict import answer
from perfmodel.report.documents.latency import latency_document
from perfmodel.report.documents.predict import predict_document


class Prediction(answer.Prediction):
    """The answer of `perfmodel.predict`."""

    __slots__ = ()

    @classmethod
    def of(cls, found: answer.Prediction) -> Prediction:
        """Take over what was found."""
        return cls(**_values(found))

    def to_dict(self) -> dict[str, Any]:
        """Return the JSON document of `perfplan predict`; what does not exist is None."""
        return predict_document(self)


class LatencyTable(breakdown.LatencyTable):
    """The answer of `perfmodel.latency`."""

    __slots__ = ()

    @classmethod
    def of(cls, found: breakdown.LatencyTable) -> LatencyTable:
        """Take over what was found."""
        return cls(**_values(found))

    def to_dict(self) -> dict[str, Any]:
        """Return the JSON document of `perfplan latency`."""
        return latency_document(self)


def _values(found: Any) -> dict[str, Any]:
    return {field.name: getattr(found, field.name) for field in fields(found)}
