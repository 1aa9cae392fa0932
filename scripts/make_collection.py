"""Makes docs/smsgateway.postman_collection.json from docs/openapi.json: python -m scripts.make_collection.

Postman and Bruno both read it (Bruno: Import collection). Its variables: `base_url`, `api_key`, `customer_id`.
"""

from __future__ import annotations

import json
import re
import uuid
from pathlib import Path
from typing import Any

DOCS = Path(__file__).parents[1] / "docs"
COLLECTION = DOCS / "smsgateway.postman_collection.json"
_NAMESPACE = uuid.UUID("6ba7b811-9dad-11d1-80b4-00c04fd430c8")  # for URLs: RFC 9562
_SCHEMA = "https://schema.getpostman.com/json/collection/v2.1.0/collection.json"
_METHODS = ("get", "post", "put", "patch", "delete")


def collection(document: dict[str, Any]) -> dict[str, Any]:
    """A Postman collection (v2.1) of the document's operations, in a folder for each tag."""
    folders: dict[str, list[dict[str, Any]]] = {}
    for path, operations in document["paths"].items():
        for method in _METHODS:
            if operation := operations.get(method):
                tag = (operation.get("tags") or ["other"])[0]
                shared = operations.get("parameters", [])
                folders.setdefault(tag, []).append(_item(document, path, method, operation, shared))
    return {
        "info": {
            "_postman_id": str(uuid.uuid5(_NAMESPACE, document["info"]["title"])),
            "name": document["info"]["title"],
            "description": document["info"].get("description", ""),
            "schema": _SCHEMA,
        },
        "auth": {"type": "bearer", "bearer": [{"key": "token", "value": "{{api_key}}", "type": "string"}]},
        "variable": [
            {"key": "base_url", "value": "http://127.0.0.1:8080"},
            {"key": "api_key", "value": ""},
            {"key": "customer_id", "value": ""},
        ],
        "item": [{"name": tag, "item": items} for tag, items in folders.items()],
    }


def _item(
    document: dict[str, Any], path: str, method: str, operation: dict[str, Any], shared: list[dict[str, Any]]
) -> dict[str, Any]:
    parameters = [_resolved(document, parameter) for parameter in (*shared, *operation.get("parameters", []))]
    segments = [re.sub(r"^\{(\w+)\}$", r":\1", part) for part in path.strip("/").split("/")]
    query = [_field(document, found) for found in parameters if found["in"] == "query"]
    headers = [_field(document, found) for found in parameters if found["in"] == "header"]
    url: dict[str, Any] = {
        "raw": "{{base_url}}/" + "/".join(segments),
        "host": ["{{base_url}}"],
        "path": segments,
        "query": query,
        "variable": [_field(document, found) | {"disabled": False} for found in parameters if found["in"] == "path"],
    }
    request: dict[str, Any] = {
        "method": method.upper(),
        "description": operation.get("description", ""),
        "header": headers,
        "url": url,
    }
    if body := operation.get("requestBody"):
        content = _resolved(document, body)["content"]
        media = content.get("application/json") or next(iter(content.values()))
        request["header"] = [{"key": "Content-Type", "value": "application/json"}, *headers]
        request["body"] = {
            "mode": "raw",
            "raw": json.dumps(_example(document, media), indent=2, ensure_ascii=False),
            "options": {"raw": {"language": "json"}},
        }
    return {"name": operation.get("summary") or f"{method.upper()} {path}", "request": request, "response": []}


def _field(document: dict[str, Any], parameter: dict[str, Any]) -> dict[str, Any]:
    value = "{{customer_id}}" if parameter["name"] == "customer_id" else _example(document, parameter)
    return {
        "key": parameter["name"],
        "value": value if isinstance(value, str) else json.dumps(value),
        "description": parameter.get("description", ""),
        "disabled": not parameter.get("required", False),
    }


def _example(document: dict[str, Any], told: dict[str, Any]) -> Any:
    """The example that a parameter or a media type tells, or one made of its schema."""
    if "example" in told:
        return told["example"]
    if examples := told.get("examples"):
        return _resolved(document, next(iter(examples.values())))["value"]
    return _of_schema(document, told.get("schema", {}))


def _of_schema(document: dict[str, Any], schema: dict[str, Any], depth: int = 0) -> Any:
    schema = _resolved(document, schema)
    for known in ("example", "default", "const"):
        if known in schema:
            return schema[known]
    if schema.get("examples"):
        return schema["examples"][0]
    if schema.get("enum"):
        return schema["enum"][0]
    for several in ("oneOf", "anyOf", "allOf"):
        if several in schema:
            return _of_schema(document, schema[several][0], depth + 1)
    kind = schema.get("type", "string")
    kind = kind[0] if isinstance(kind, list) else kind
    if kind == "object" and depth < 4:
        wanted = schema.get("required") or schema.get("properties", {})
        properties = schema.get("properties", {})
        return {name: _of_schema(document, properties.get(name, {}), depth + 1) for name in wanted}
    if kind == "array" and depth < 4:
        return [_of_schema(document, schema.get("items", {}), depth + 1)]
    return {"integer": 1, "number": 1, "boolean": True}.get(kind, "")


def _resolved(document: dict[str, Any], told: dict[str, Any]) -> dict[str, Any]:
    while "$ref" in told:
        found: Any = document
        for part in told["$ref"].removeprefix("#/").split("/"):
            found = found[part]
        told = found
    return told


def render() -> str:
    """The text of the file."""
    document = json.loads((DOCS / "openapi.json").read_text(encoding="utf-8"))
    return json.dumps(collection(document), indent=1, ensure_ascii=False) + "\n"


if __name__ == "__main__":
    COLLECTION.write_text(render(), encoding="utf-8")
