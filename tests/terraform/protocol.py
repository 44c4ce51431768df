"""The part of Terraform's plugin protocol, version 5, that the provider double speaks: messages by field number, and a gRPC server.

A provider is a gRPC service. With TF_REATTACH_PROVIDERS terraform connects to one that already runs, so no plugin has to be built,
installed or started per run. Only the messages and fields in use are declared; protobuf skips the others.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import grpc
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory  # type: ignore[import-untyped]

_PACKAGE = "tfplugin5"
_RESULT = "1 diagnostics Diagnostic*"
_BY_TYPE = "1 type_name string, 2 config DynamicValue"
_MESSAGES = {
    "DynamicValue": "1 msgpack bytes",
    "Diagnostic": "1 severity int32, 2 summary string, 3 detail string",
    "RawState": "1 json bytes",
    "Schema": "1 version int64, 2 block Block",
    "Block": "2 attributes Attribute*, 3 block_types NestedBlock*",
    "Attribute": "1 name string, 2 type bytes, 4 required bool, 5 optional bool, 6 computed bool, 7 sensitive bool, 10 write_only bool",
    "NestedBlock": "1 type_name string, 2 block Block, 3 nesting int32, 4 min_items int64, 5 max_items int64",
    "Entry": "1 key string, 2 value Schema",
}
_METHODS = {  # request, response
    "GetSchema": (
        "",
        "1 provider Schema, 2 resource_schemas Entry*, 3 data_source_schemas Entry*, 8 ephemeral_resource_schemas Entry*",
    ),
    "PrepareProviderConfig": ("1 config DynamicValue", "1 prepared_config DynamicValue"),
    "Configure": ("2 config DynamicValue", _RESULT),
    "ValidateResourceTypeConfig": (_BY_TYPE, _RESULT),
    "ValidateDataSourceConfig": (_BY_TYPE, _RESULT),
    "ValidateEphemeralResourceConfig": (_BY_TYPE, _RESULT),
    "UpgradeResourceState": ("1 type_name string, 3 raw_state RawState", "1 upgraded_state DynamicValue"),
    "ReadResource": ("1 type_name string, 2 current_state DynamicValue", "1 new_state DynamicValue"),
    "PlanResourceChange": (
        "1 type_name string, 2 prior_state DynamicValue, 3 proposed_new_state DynamicValue",
        "1 planned_state DynamicValue",
    ),
    "ApplyResourceChange": (
        "1 type_name string, 2 prior_state DynamicValue, 3 planned_state DynamicValue",
        "1 new_state DynamicValue, 3 diagnostics Diagnostic*",
    ),
    "ReadDataSource": (_BY_TYPE, "1 state DynamicValue"),
    "OpenEphemeralResource": (_BY_TYPE, "3 result DynamicValue"),
    "CloseEphemeralResource": ("1 type_name string", _RESULT),
    "Stop": ("", "1 Error string"),
}


def _declared() -> Mapping[str, Any]:
    file = descriptor_pb2.FileDescriptorProto(name="tfplugin5-part.proto", package=_PACKAGE, syntax="proto3")
    kinds = descriptor_pb2.FieldDescriptorProto
    methods = {
        f"{name}.{side}": fields for name, pair in _METHODS.items() for side, fields in zip(("in", "out"), pair, strict=True)
    }
    for message, fields in {**_MESSAGES, **methods}.items():
        declared = file.message_type.add(name=message.replace(".", "_"))
        for number, name, kind in (field.split() for field in fields.split(", ") if field):
            field = declared.field.add(name=name, number=int(number), label=3 if kind.endswith("*") else 1)
            if kind[0].isupper():
                field.type, field.type_name = kinds.TYPE_MESSAGE, f".{_PACKAGE}.{kind.rstrip('*')}"
            else:
                field.type = kinds.Type.Value(f"TYPE_{kind.upper()}")
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return {
        message.name: message_factory.GetMessageClass(pool.FindMessageTypeByName(f"{_PACKAGE}.{message.name}"))
        for message in file.message_type
    }


MESSAGES = _declared()
Handler = Callable[[Any, str], Mapping[str, Any]]


def serve(handlers: Mapping[str, Handler]) -> tuple[grpc.Server, int]:
    """Serves on a port of 127.0.0.1 until the server's stop(). A handler gets the request and the caller's address, which is another
    for each provider block of each run, and gives the response's fields by name."""
    server = grpc.server(ThreadPoolExecutor(4))
    methods = {
        name: grpc.unary_unary_rpc_method_handler(
            lambda request, context, name=name: MESSAGES[f"{name}_out"](**handlers[name](request, context.peer())),
            MESSAGES[f"{name}_in"].FromString,
            lambda response: response.SerializeToString(),
        )
        for name in _METHODS
    }
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(f"{_PACKAGE}.Provider", methods),))
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    return server, port
