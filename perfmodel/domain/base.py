"""The base of every type that a file is parsed into: frozen, strict, no unknown keys."""

from pydantic import BaseModel, ConfigDict


class Frozen(BaseModel):
    """A frozen pydantic model that refuses unknown keys, silent conversions, NaN and infinities."""

    model_config = ConfigDict(
        frozen=True, extra="forbid", strict=True, populate_by_name=True, allow_inf_nan=False
    )


class ValueErrorAt(ValueError):
    """A value that does not fit others; `path` leads to the key that says it, from where it is raised."""

    def __init__(self, message: str, path: tuple[str | int, ...]) -> None:
        super().__init__(message)
        self.path = path


class OutdatedError(ValueErrorAt):
    """A file of another version: said first, as whatever else is odd about the file follows from it."""
