"""Message types of protocols that others defined with Protocol Buffers.

google.protobuf is the codec. The types are built when a module is imported, from a table that reads
like the `.proto` file: generated code would have to follow the installed runtime's version.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
from google.protobuf.message import DecodeError

from .errors import RemoteProtocolError

__all__ = ["Field", "define", "parse"]

Field = tuple[str, int, str]
"""Name, number, type: int32, uint64, bool, bytes or a message's name; repeated with a `*`.

Text is taken as bytes and decoded by whoever reads it: proto2 does not check that it is UTF-8.
"""

_KINDS: Final = {
    "int32": descriptor_pb2.FieldDescriptorProto.TYPE_INT32,
    "uint64": descriptor_pb2.FieldDescriptorProto.TYPE_UINT64,
    "bool": descriptor_pb2.FieldDescriptorProto.TYPE_BOOL,
    "bytes": descriptor_pb2.FieldDescriptorProto.TYPE_BYTES,
}


def define(package: str, messages: Mapping[str, Sequence[Field]]) -> dict[str, Any]:
    """The message classes of a package (proto2, so that a field that was set to 0 is sent)."""
    file = descriptor_pb2.FileDescriptorProto(
        name=f"{package}.proto", package=package, syntax="proto2"
    )
    for name, fields in messages.items():
        message = file.message_type.add(name=name)
        for field, number, kind in fields:
            added = message.field.add(name=field, number=number)
            added.label = added.LABEL_REPEATED if kind.endswith("*") else added.LABEL_OPTIONAL
            kind = kind.removesuffix("*")
            if kind in _KINDS:
                added.type = _KINDS[kind]
            else:
                added.type, added.type_name = added.TYPE_MESSAGE, f".{package}.{kind}"
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)  # type: ignore[no-untyped-call]
    file_of = pool.FindFileByName(f"{package}.proto")  # type: ignore[no-untyped-call]
    return {
        name: message_factory.GetMessageClass(file_of.message_types_by_name[name])
        for name in messages
    }


def parse(kind: Any, data: bytes, *, code: str) -> Any:
    """Read one message. The caller has bounded `data`. Raises RemoteProtocolError(`code`)."""
    try:
        return kind.FromString(data)
    except DecodeError as exc:
        raise RemoteProtocolError("not a message of this protocol", code=code) from exc
