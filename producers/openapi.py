"""What openapi.json says of the webhooks, made from the tables of the sources. The rest of the document is written."""

from __future__ import annotations

from typing import Any, assert_never

from producers.limits import KIB, MIB
from producers.presentation import BasicAuth, BodyField, HeaderOrUrl, Presentation
from producers.sources import ENDPOINTS
from producers.sources.endpoint import PREFIX, Endpoint
from stream.domain.sources import SOURCES

REFUSALS = ("400", "401", "408", "413", "415", "417")
SCHEMA = "#/components/schemas/"
RESPONSE = "#/components/responses/"


def with_webhooks(document: dict[str, Any]) -> dict[str, Any]:
    """The document with the paths, payload schemas and security schemes of today's tables."""
    endpoints = list(ENDPOINTS.values())
    other_paths = {path: item for path, item in document["paths"].items() if not path.startswith(PREFIX)}
    components = document["components"]
    schemes = {name: scheme for one in endpoints for name, scheme in _schemes(one.presentation).items()}
    return {
        **document,
        "paths": {**{one.path: {"post": _operation(one)} for one in endpoints}, **other_paths},
        "components": {
            **components,
            "securitySchemes": schemes,
            "schemas": {**components["schemas"], **{one.operation.component: _schema(one) for one in endpoints}},
        },
    }


def _operation(endpoint: Endpoint) -> dict[str, Any]:
    said = endpoint.operation
    return {
        "operationId": str(endpoint.source),
        "summary": said.summary,
        "security": [{name: []} for name in _schemes(endpoint.presentation)],
        "requestBody": {
            "required": True,
            "description": f"At most {_size(endpoint.largest_body)}, uncompressed.",
            "content": {"application/json": {"schema": _body(endpoint)}},
        },
        "responses": {
            "200": said.ok,
            **{status: {"$ref": f"{RESPONSE}Refused"} for status in REFUSALS},
            "422": said.unprocessable,
            "429": {"$ref": f"{RESPONSE}Limited"},
            "503": {"$ref": f"{RESPONSE}Later"},
        },
    }


def _body(endpoint: Endpoint) -> dict[str, Any]:
    one = {"$ref": f"{SCHEMA}{endpoint.operation.component}"}
    most = endpoint.operation.array_of
    return {"oneOf": [one, {"type": "array", "items": one, "maxItems": most}]} if most else one


def _schema(endpoint: Endpoint) -> dict[str, Any]:
    payload, extra = SOURCES[endpoint.source].payload_schema, endpoint.operation.extra
    return {
        **payload,
        "description": "Unknown fields are kept at every level.",
        "required": [*payload["required"], *extra],
        "properties": {**payload["properties"], **extra},
    }


def _schemes(how: Presentation) -> dict[str, Any]:
    match how:
        case HeaderOrUrl():
            return {
                "header": {"type": "apiKey", "in": "header", "name": how.header},
                "url": {"type": "apiKey", "in": "query", "name": how.parameter},
            }
        case BasicAuth():
            return {"basic": {"type": "http", "scheme": "basic"}}
        case BodyField():
            return {}
        case _:
            assert_never(how)


def _size(count: int) -> str:
    return f"{count // MIB} MiB" if count >= MIB else f"{count // KIB} KiB"
