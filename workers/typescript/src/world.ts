// One-off calls about the world: what it is, one entity, queries, its schema.
//
// Responsible for: WorldService with the generated types, decoding values by the world's own schema.
// Not responsible for: sessions (worker.ts).

import {
  create, createFileRegistry, fromBinary, toBinary, toJson,
  type DescMessage, type DescMethod, type FileRegistry, type JsonObject, type Message, type MessageInitShape, type MessageShape,
} from "@bufbuild/protobuf";
import { FileDescriptorSetSchema } from "@bufbuild/protobuf/wkt";
import type { Constraint } from "./gen/spatialdb/v1/query_pb.js";
import {
  WorldService, type ApplySchemaResponse, type Entity as WorldEntity, type SessionInfo, type World as WorldInfo,
} from "./gen/spatialdb/v1/world_pb.js";
import { ProtocolError } from "./errors.js";
import { numberOf } from "./ids.js";
import type { Transport } from "./transport/transport.js";

/** A component of an entity, decoded. */
export interface DecodedComponent {
  id: number;
  /** Full name, e.g. "earth.City". */
  name: string;
  revision: bigint;
  /** Undefined if it does not fit the schema that was read. */
  value: Message | undefined;
  /** The same as JSON, every field by name; ids and other 64-bit numbers are strings. */
  fields: JsonObject;
}

/** The components of a world, as it describes itself. */
export interface WorldSchema {
  digest: string;
  /** Numbers of components by full name. */
  components: ReadonlyMap<string, number>;
  /** Every message, for toJson, fromJson and lookups by name. */
  registry: FileRegistry;
}

export class World {
  readonly #transport: Transport;

  constructor(transport: Transport) {
    this.#transport = transport;
  }

  get(): Promise<WorldInfo> {
    return this.#one(WorldService.method.getWorld, {});
  }

  /** Every component of the entity, undecoded. */
  getEntity(id: bigint): Promise<WorldEntity> {
    numberOf(id);
    return this.#one(WorldService.method.getEntity, { entity: id });
  }

  /** Every component of the entity, decoded by the schema. */
  async describe(id: bigint, schema: WorldSchema): Promise<DecodedComponent[]> {
    const { registry } = schema;
    return (await this.getEntity(id)).components.map(({ id, name, revision, value }) => {
      try {
        const message = registry.getMessage(name)!;
        const decoded = fromBinary(message, value!.value);
        const fields = toJson(message, decoded, { registry, alwaysEmitImplicit: true, useProtoFieldName: true });
        return { id, name, revision, value: decoded, fields: fields as JsonObject };
      } catch {
        // Written under a newer schema: shown without fields.
        return { id, name, revision, value: undefined, fields: {} };
      }
    });
  }

  /** Asks once: yields entities in no particular order. `limit` 0 means all. */
  async *query(where: Constraint, components: readonly string[] = [], limit = 0): AsyncGenerator<WorldEntity> {
    const method = WorldService.method.query;
    const request = { constraint: where, components: [...components], limit: BigInt(limit) };
    for await (const page of this.#call(method, request)) yield* page.entities;
  }

  /** How many entities match. */
  async count(where: Constraint): Promise<number> {
    for await (const page of this.#call(WorldService.method.query, { constraint: where, countOnly: true })) {
      if (page.last) return Number(page.matchCount);
    }
    throw new ProtocolError("a query ended without its last page");
  }

  async schema(): Promise<WorldSchema> {
    const { digest, components, descriptorSet } = await this.#one(WorldService.method.getSchema, {});
    const registry = createFileRegistry(fromBinary(FileDescriptorSetSchema, descriptorSet));
    return { digest, components: new Map(components.map(({ id, name }) => [name, id])), registry };
  }

  /** Adds components and fields to the running world: `descriptorSet` is a serialised FileDescriptorSet with imports. */
  applySchema(descriptorSet: Uint8Array, dryRun = false): Promise<ApplySchemaResponse> {
    return this.#one(WorldService.method.applySchema, { descriptorSet, dryRun });
  }

  async sessions(): Promise<SessionInfo[]> {
    return (await this.#one(WorldService.method.listSessions, {})).sessions;
  }

  async flags(workerType: string): Promise<Map<string, string>> {
    return new Map(Object.entries((await this.#one(WorldService.method.getFlags, { workerType })).flags));
  }

  /** Sets and removes settings of a worker type; resolves with all of them. */
  async setFlags(workerType: string, flags: Record<string, string>, removed: readonly string[] = []): Promise<Map<string, string>> {
    const answer = await this.#one(WorldService.method.setFlags, { workerType, flags, removed: [...removed] });
    return new Map(Object.entries(answer.flags));
  }

  async #one<I extends DescMessage, O extends DescMessage>(method: Method<I, O>, request: MessageInitShape<I>): Promise<MessageShape<O>> {
    let only: MessageShape<O> | undefined;
    // Read to the end: the status comes last.
    for await (const answer of this.#call(method, request)) only = answer;
    if (only === undefined) throw new ProtocolError(`${method.name} gave no answer`);
    return only;
  }

  async *#call<I extends DescMessage, O extends DescMessage>(method: Method<I, O>, request: MessageInitShape<I>): AsyncGenerator<MessageShape<O>> {
    const path = `/${method.parent.typeName}/${method.name}`;
    const bytes = toBinary(method.input, create(method.input, request));
    for await (const answer of this.#transport.call(path, bytes)) yield fromBinary(method.output, answer);
  }
}

type Method<I extends DescMessage, O extends DescMessage> = DescMethod & { input: I; output: O };
