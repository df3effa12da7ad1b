// What both entries export: everything but how to connect.

export { Worker, type View } from "./worker.js";
export { Answer, Found } from "./answer.js";
export { LossReason, Side, type Border, type Layer, type Region } from "./authority.js";
export { Batch, component, type EncodedComponent, type NewEntity } from "./batch.js";
export { type ComponentRef } from "./components.js";
export {
  all, and, box, cylinder, entities, Field, field, has, inSpace, ITSELF, near, not, or, owned, sphere, text, type FieldValue, type Place,
} from "./constraints.js";
export { GrpcCode, ProtocolError, SpatialdbError } from "./errors.js";
export { Changes, eventOf, type EntityEvent, type Rejection, type WorkerEvents } from "./events.js";
export { Follower, type Bounds } from "./follow.js";
export { type Ids } from "./ids.js";
export { type ConnectOptions } from "./options.js";
export { DensityMap, type Square } from "./replica/densities.js";
export { Entity, Replica, type Point } from "./replica/replica.js";
export { Rows, ValueColumn } from "./replica/table.js";
export { type RunOptions } from "./run.js";
export { type Welcomed } from "./session.js";
export type { AskOptions, Band, Bands, Densities, PlaceInSpace, ViewOptions } from "./views.js";
export { World, type DecodedComponent, type WorldSchema } from "./world.js";
export { InterestSchema, MetadataSchema, PlayerOwnerSchema, PositionSchema, WorkerSessionSchema } from "./gen/spatialdb/v1/components_pb.js";
export type { Interest, Metadata, PlayerOwner, Position, WorkerSession } from "./gen/spatialdb/v1/components_pb.js";
export { LeaveReason } from "./gen/spatialdb/v1/worker_pb.js";
export type { Constraint } from "./gen/spatialdb/v1/query_pb.js";
