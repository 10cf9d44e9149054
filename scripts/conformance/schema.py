"""The Engine API's specification as the contract test reads it: operations with the schemas of
their answers, definitions without prose.

    scripts/conformance/schema.py swagger.yaml > tests/data/engine-api.json

The specification is github.com/moby/moby's api/swagger.yaml, Apache-2.0."""

import json
import sys

import yaml

KEPT = ("type", "enum", "required", "x-nullable")


def compact(schema):
    if not isinstance(schema, dict):
        return {}
    if "$ref" in schema:
        return {"$ref": schema["$ref"].rsplit("/", 1)[-1]}
    out = {key: schema[key] for key in KEPT if key in schema}
    if "properties" in schema:
        out["properties"] = {name: compact(it) for name, it in schema["properties"].items()}
    if "items" in schema:
        out["items"] = compact(schema["items"])
    extra = schema.get("additionalProperties")
    if isinstance(extra, dict):
        out["additionalProperties"] = compact(extra)
    if "allOf" in schema:
        out["allOf"] = [compact(it) for it in schema["allOf"]]
    return out


spec = yaml.safe_load(open(sys.argv[1]))
responses = spec.get("responses", {})


def answers(operation):
    out = {}
    for status, answer in operation["responses"].items():
        if "$ref" in answer:
            answer = responses[answer["$ref"].rsplit("/", 1)[-1]]
        out[str(status)] = compact(answer["schema"]) if "schema" in answer else None
    return out


operations = {}
for path, methods in spec["paths"].items():
    path = path.replace("{name:.*}", "{name}")
    for method, operation in methods.items():
        if method in ("get", "head", "put", "post", "delete"):
            operations[f"{method.upper()} {path}"] = answers(operation)

table = {
    "origin": "github.com/moby/moby api/swagger.yaml, Apache License 2.0, "
    + "compacted: prose and examples left out",
    "version": spec["info"]["version"],
    "operations": operations,
    "definitions": {name: compact(it) for name, it in spec["definitions"].items()},
}
json.dump(table, sys.stdout, indent=1, sort_keys=True)
print()
