// The generated messages of the protocol, and what works with any message: for tools that go beyond the API.

export { create, fromBinary, fromJson, fromJsonString, toBinary, toJson, toJsonString } from "@bufbuild/protobuf";
export * from "./gen/spatialdb/v1/components_pb.js";
export * from "./gen/spatialdb/v1/query_pb.js";
export * from "./gen/spatialdb/v1/worker_pb.js";
export * from "./gen/spatialdb/v1/world_pb.js";
