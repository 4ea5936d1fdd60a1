"""The base of every type that a file is parsed into: frozen, strict, no unknown keys."""

from typing import Any

from pydantic import BaseModel, ConfigDict, GetJsonSchemaHandler
from pydantic_core import CoreSchema

from perfmodel.errors import InputError


class Frozen(BaseModel):
    """A frozen pydantic model that refuses unknown keys, silent conversions, NaN and infinities."""

    model_config = ConfigDict(
        frozen=True,
        extra="forbid",
        strict=True,
        populate_by_name=True,
        allow_inf_nan=False,
        defer_build=True,
    )

    @classmethod
    def __get_pydantic_json_schema__(
        cls, core_schema: CoreSchema, handler: GetJsonSchemaHandler, /
    ) -> dict[str, Any]:
        """Describe every key in the schema: by its docstring, a base's, or the table of words."""
        from perfmodel.domain.key_words import KEY_WORDS  # schemas are for editors and for mistakes:
        from perfmodel.domain.words import attribute_words  # most answers need none

        schema = handler(core_schema)
        words: dict[str, str] = {}
        for base in reversed(cls.__mro__):
            words |= attribute_words(base.__doc__)
        for name, field in handler.resolve_ref_schema(schema).get("properties", {}).items():
            text = words.get(name) or KEY_WORDS.get(f"{cls.__name__}.{name}") or KEY_WORDS.get(name)
            if text is not None:
                field["description"] = text
        return schema


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
