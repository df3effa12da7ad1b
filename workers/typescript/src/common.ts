// What both entries export: everything but how to connect.

export { Worker, type View, type ViewOptions } from "./worker.js";
export { Batch, component, type EncodedComponent, type NewEntity } from "./batch.js";
export { type ComponentRef } from "./components.js";
export { all, and, box, cylinder, entities, has, inSpace, not, or, sphere, type Place } from "./constraints.js";
export { GrpcCode, ProtocolError, SpatialdbError } from "./errors.js";
export { Changes, type Rejection, type WorkerEvents } from "./events.js";
export { Follower, type Bounds } from "./follow.js";
export { type Ids } from "./ids.js";
export { type ConnectOptions } from "./options.js";
export { Entity, Replica, type Point } from "./replica/replica.js";
export { Rows, ValueColumn } from "./replica/table.js";
export { type Welcomed } from "./session.js";
export { World, type DecodedComponent, type WorldSchema } from "./world.js";
export { MetadataSchema, PositionSchema, WorkerSessionSchema } from "./gen/spatialdb/v1/components_pb.js";
export type { Metadata, Position, WorkerSession } from "./gen/spatialdb/v1/components_pb.js";
export { LeaveReason } from "./gen/spatialdb/v1/worker_pb.js";
export type { Constraint } from "./gen/spatialdb/v1/query_pb.js";
