"""Makes docs/smsgateway.postman_collection.json from docs/openapi.json: python -m scripts.make_collection.

Postman, Bruno and newman read it. A user sets its variables and nothing else: `base_url`, `customer_id`, `api_key`
(where the gateway asks for one), `operator` and `receipt_token` (for receipts). Each request finds what it needs in the
answers before it: the document's links name the values, and scripts keep them as variables.
"""

from __future__ import annotations

import json
import re
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

DOCS = Path(__file__).parents[1] / "docs"
COLLECTION = DOCS / "smsgateway.postman_collection.json"
_NAMESPACE = uuid.UUID("6ba7b811-9dad-11d1-80b4-00c04fd430c8")  # for URLs: RFC 9562
_SCHEMA = "https://schema.getpostman.com/json/collection/v2.1.0/collection.json"
_METHODS = ("get", "post", "put", "patch", "delete")


# Operations whose answers are needed by others come first; the rest in the document's order.
_FIRST = (
    "setCallbackEndpoint",
    "getCallbackEndpoint",
    "rotateCallbackSecret",
    "testCallbackEndpoint",
    "estimateCost",
    "sendBatch",
    "sendMessage",
    "listMessages",
    "getMessage",
    "cancelMessage",
)
# Values that the user sets.
_VARIABLES = {
    "base_url": "http://127.0.0.1:8080",
    "api_key": "",
    "customer_id": "",
    "operator": "mci",
    "receipt_token": "",
}
_IN_AN_HOUR = 'pm.variables.set("in_an_hour", new Date(Date.now() + 3600000).toISOString());'
_SUCCEEDS = 'pm.test("It succeeds", () => pm.expect(pm.response.code).to.equal(200));'


def collection(document: dict[str, Any]) -> dict[str, Any]:
    """A Postman collection (v2.1) of the document's operations, in a folder for each tag."""
    folders: dict[str, list[dict[str, Any]]] = {tag["name"]: [] for tag in document["tags"]}
    for path, method, operation in sorted(_operations(document), key=_place):
        folders[operation["tags"][0]] += _items(document, path, method, operation)
    return {
        "info": {
            "_postman_id": str(uuid.uuid5(_NAMESPACE, document["info"]["title"])),
            "name": document["info"]["title"],
            "description": document["info"].get("description", ""),
            "schema": _SCHEMA,
        },
        "auth": _bearer("api_key"),
        "event": [_script("prerequest", [_IN_AN_HOUR])],
        "variable": [{"key": name, "value": value} for name, value in _VARIABLES.items()],
        "item": [{"name": tag, "item": items} for tag, items in folders.items() if items],
    }


def _operations(document: dict[str, Any]) -> Iterator[tuple[str, str, dict[str, Any]]]:
    for path, operations in document["paths"].items():
        for method in _METHODS:
            if method in operations:
                yield path, method, operations[method]


def _place(found: tuple[str, str, dict[str, Any]]) -> int:
    name = found[2]["operationId"]
    return _FIRST.index(name) if name in _FIRST else len(_FIRST)


def _bearer(variable: str) -> dict[str, Any]:
    return {"type": "bearer", "bearer": [{"key": "token", "value": f"{{{{{variable}}}}}", "type": "string"}]}


def _script(listen: str, lines: list[str]) -> dict[str, Any]:
    return {"listen": listen, "script": {"type": "text/javascript", "exec": lines}}


def _items(document: dict[str, Any], path: str, method: str, operation: dict[str, Any]) -> list[dict[str, Any]]:
    """A request per example of the body; one request for an operation without a body."""
    media = operation.get("requestBody", {}).get("content", {}).get("application/json", {})
    examples = list(media.get("examples", {}).values()) or [{"value": _of_schema(document, media.get("schema", {}))}]
    made = []
    for example in examples:
        request = _request(document, path, method, operation)
        if media:
            request["header"].insert(0, {"key": "Content-Type", "value": "application/json"})
            text = json.dumps(_with_variables(example["value"]), indent=2, ensure_ascii=False)
            request["body"] = {"mode": "raw", "raw": text, "options": {"raw": {"language": "json"}}}
        name = operation["summary"]
        if len(examples) > 1:
            name += f" ({example['summary']})"
        script = [_SUCCEEDS, *_kept(operation)]
        made.append({"name": name, "event": [_script("test", script)], "request": request, "response": []})
    return made


def _request(document: dict[str, Any], path: str, method: str, operation: dict[str, Any]) -> dict[str, Any]:
    parameters = [_resolved(document, parameter) for parameter in operation.get("parameters", [])]
    segments = [re.sub(r"^\{(\w+)\}$", r":\1", part) for part in path.strip("/").split("/")]
    request: dict[str, Any] = {
        "method": method.upper(),
        "description": operation.get("description", ""),
        "header": [_field(document, found) for found in parameters if found["in"] == "header"],
        "url": {
            "raw": "{{base_url}}/" + "/".join(segments),
            "host": ["{{base_url}}"],
            "path": segments,
            "query": _query(document, operation, [found for found in parameters if found["in"] == "query"]),
            "variable": [
                {"key": found["name"], "value": f"{{{{{found['name']}}}}}", "description": found["description"]}
                for found in parameters
                if found["in"] == "path"
            ],
        },
    }
    if {"receiptToken": []} in operation["security"]:
        request["auth"] = _bearer("receipt_token")
    return request


def _query(
    document: dict[str, Any], operation: dict[str, Any], parameters: list[dict[str, Any]]
) -> list[dict[str, Any]]:
    """The fields of the query. A receipt has all of its fields there, so they are enabled."""
    fields = [_field(document, found) for found in parameters]
    if {"receiptToken": []} in operation["security"]:
        for field in fields:
            field["disabled"] = False
            if field["key"] == "reference":
                field["value"] = "{{message_id}}"
    return fields


def _kept(operation: dict[str, Any]) -> Iterator[str]:
    """Script lines that store the values which the document's links pass to other operations."""
    kept = {}
    for link in operation["responses"]["200"].get("links", {}).values():
        for name, expression in link["parameters"].items():
            steps = expression.removeprefix("$response.body#/").split("/")
            kept[name] = "".join(f"?.[{step if step.isdigit() else json.dumps(step)}]" for step in steps)
    for name, steps in kept.items():
        yield f'if (pm.response.code === 200) pm.collectionVariables.set("{name}", pm.response.json(){steps});'


def _with_variables(value: Any) -> Any:
    """The example with the user's customer, a time in the future, and the id of the sent message."""
    replaced = {"customer_id": "{{customer_id}}", "send_at": "{{in_an_hour}}", "reference": "{{message_id}}"}
    if not isinstance(value, dict):
        return value
    return {name: replaced[name] if name in replaced and _is_ours(name, part) else part for name, part in value.items()}


def _is_ours(name: str, part: Any) -> bool:
    """True for the `reference` of a receipt, a message's id; False for that of a message, the customer's own text."""
    return name != "reference" or re.fullmatch(r"[0-9A-Z]{26}", part) is not None


def _field(document: dict[str, Any], parameter: dict[str, Any]) -> dict[str, Any]:
    value: Any = _of_schema(document, parameter.get("schema", {}))
    if parameter["name"] == "customer_id":
        value = "{{customer_id}}"
    if parameter["name"] in ("Idempotency-Key", "X-Request-ID"):
        value = "{{$guid}}"
    return {
        "key": parameter["name"],
        "value": value if isinstance(value, str) else json.dumps(value),
        "description": parameter.get("description", ""),
        # Required without an API key, optional with one.
        "disabled": not parameter.get("required", False) and parameter["name"] != "customer_id",
    }


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


def _resolved(document: dict[str, Any], schema: dict[str, Any]) -> dict[str, Any]:
    while "$ref" in schema:
        found: Any = document
        for part in schema["$ref"].removeprefix("#/").split("/"):
            found = found[part]
        schema = found
    return schema


def render() -> str:
    """The text of the file."""
    document = json.loads((DOCS / "openapi.json").read_text(encoding="utf-8"))
    return json.dumps(collection(document), indent=1, ensure_ascii=False) + "\n"


if __name__ == "__main__":
    COLLECTION.write_text(render(), encoding="utf-8")
