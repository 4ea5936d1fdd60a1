"""Keys of the commands' documents and the versions of their schemas, to see whether a promise was broken.

`python -m tests.golden.schemas` rewrites them; it refuses to drop a key of a version.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from calibration import documents
from perfmodel.report.documents.schemas import KINDS, schema_of

PROMISED = Path(__file__).with_name("schemas.json")


ALL_KINDS = {**KINDS, **documents.KINDS}


def promise(of: str) -> dict[str, Any]:
    """The version of a document's schema, and every key of it, keys within keys joined by points."""
    schema = schema_of(ALL_KINDS[of])
    return {"version": ALL_KINDS[of].version, "keys": sorted(set(keys(schema, schema.get("$defs", {}))))}


def keys(schema: Mapping[str, Any], definitions: Mapping[str, Any]) -> Iterator[str]:
    """Paths of the keys that a schema allows; a list counts as its entries."""
    if "$ref" in schema:
        yield from keys(definitions[schema["$ref"].rpartition("/")[2]], definitions)
    for branch in schema.get("anyOf", ()):
        yield from keys(branch, definitions)
    if "items" in schema:
        yield from keys(schema["items"], definitions)
    for key, inner in schema.get("properties", {}).items():
        yield key
        yield from (f"{key}.{path}" for path in keys(inner, definitions))


def broken(before: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """Keys that went without a new version."""
    return [
        f"{name}: {key}"
        for name, promised in before.items()
        for key in promised["keys"]
        if name not in now or (now[name]["version"] == promised["version"] and key not in now[name]["keys"])
    ]


if __name__ == "__main__":
    promises = {name: promise(name) for name in ALL_KINDS}
    gone = broken(json.loads(PROMISED.read_text(encoding="utf-8")) if PROMISED.exists() else {}, promises)
    if gone:
        sys.exit(f"gone without a new VERSION: {', '.join(gone)}")
    PROMISED.write_text(json.dumps(promises, indent=1) + "\n", encoding="utf-8")
