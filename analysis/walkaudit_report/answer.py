"""Answers for programs: what --json prints, one object with the name and version of its schema (doc/json.md)."""
import json
import math


def clean(value):
    """Numbers that JSON does not have are null."""
    if isinstance(value, dict):
        return {key: clean(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [clean(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def print_json(schema, version, members):
    document = {"schema": f"walkaudit.{schema}", "version": version, **clean(members)}
    print(json.dumps(document, indent=2, ensure_ascii=False, allow_nan=False))
