"""Records that take numbers and truth values only as what they are.

Left alone, pydantic takes ``true`` and ``"1"`` for the number 1, so that a measurement that was written wrongly would
become data. Whole numbers may still be written as 4e12.
"""

from __future__ import annotations

from typing import Any, ClassVar, cast

from pydantic import BaseModel, ConfigDict, GetCoreSchemaHandler
from pydantic_core import CoreSchema, PydanticCustomError
from pydantic_core.core_schema import no_info_before_validator_function

# What stands beside the types in a schema, and is none.
_NO_SCHEMAS = frozenset({"cls", "config", "default", "metadata", "serialization"})


def _exact(schema: Any) -> Any:
    """The same schema with exact numbers; records inside of it see to their own."""
    if isinstance(schema, list | tuple):
        return type(schema)(_exact(part) for part in schema)
    if not isinstance(schema, dict):
        return schema
    kind = schema.get("type")
    if kind in ("float", "bool"):
        return schema | {"strict": True}
    if kind == "int":
        return no_info_before_validator_function(_no_other, cast(CoreSchema, schema))
    return {key: part if key in _NO_SCHEMAS else _exact(part) for key, part in schema.items()}


def _no_other(value: object) -> object:
    if isinstance(value, bool | str):
        raise PydanticCustomError("int_type", "Input should be a valid integer")
    return value


class ExactNumbers(BaseModel):
    """Fields of a subclass refuse a text or a truth value for a number, unless it says that it is not ``EXACT``."""

    EXACT: ClassVar[bool] = True

    @classmethod
    def __get_pydantic_core_schema__(cls, source: type[BaseModel], handler: GetCoreSchemaHandler) -> CoreSchema:
        schema = handler(source)
        return cast(CoreSchema, _exact(schema)) if cls.EXACT else schema


class Record(ExactNumbers):
    """Frozen; an unknown field is an error, so that a misspelt one is never ignored."""

    model_config = ConfigDict(frozen=True, extra="forbid")
