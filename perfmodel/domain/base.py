"""The base of every type that a file is parsed into: frozen, strict, no unknown keys."""

from pydantic import BaseModel, ConfigDict

from perfmodel.errors import InputError


class Frozen(BaseModel):
    """A frozen pydantic model that refuses unknown keys, silent conversions, NaN and infinities."""

    model_config = ConfigDict(
        frozen=True, extra="forbid", strict=True, populate_by_name=True, allow_inf_nan=False
    )


class ValueErrorAt(InputError):
    """A value that does not fit others, and where it is written.

    Attributes
    ----------
    message : str
        What is wrong, without the place.
    path : tuple of (str or int)
        Keys that lead to the value, from the type or the file that raises it; empty: to all of it.
    """

    def __init__(self, message: str, path: tuple[str | int, ...]) -> None:
        super().__init__(f"{'.'.join(map(str, path))}: {message}" if path else message)
        self.message, self.path = message, path


class OutdatedError(ValueErrorAt):
    """A file of another version: said first, as whatever else is odd about the file follows from it."""
