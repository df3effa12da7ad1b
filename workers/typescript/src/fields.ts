// Which fields a partial update replaces.
//
// Responsible for: turning names of TypeScript into field numbers.

import { clearField, clone, create, type DescMessage, type MessageInitShape, type MessageShape } from "@bufbuild/protobuf";
import { SpatialdbError } from "./errors.js";

/**
 * The numbers of `names`, or of what `value` names. A oneof is named by its own name: the arm that is set is
 * listed, and its first arm if none is, which clears it.
 */
export function fieldsOf<D extends DescMessage>(
  schema: D, value: MessageInitShape<D>, names?: readonly string[],
): number[] {
  const given = value as Record<string, unknown>;
  const listed = names ?? Object.keys(given).filter((name) => !name.startsWith("$") && given[name] !== undefined);
  if (listed.length === 0) {
    throw new SpatialdbError("ARGUMENT_INVALID", `an update of ${schema.typeName} names no field; use set for a whole value`);
  }
  return listed.map((name) => numberOfField(schema, given, name));
}

/** The value with nothing but the listed fields: the server takes no other. */
export function only<D extends DescMessage>(schema: D, value: MessageInitShape<D>, numbers: readonly number[]): MessageShape<D> {
  const message = clone(schema, create(schema, value));
  for (const field of schema.fields) if (!numbers.includes(field.number)) clearField(message, field);
  delete message.$unknown;
  return message;
}

function numberOfField(schema: DescMessage, value: Record<string, unknown>, name: string): number {
  const oneof = schema.oneofs.find((oneof) => oneof.localName === name || oneof.name === name);
  if (oneof !== undefined) {
    const arm = (value[oneof.localName] as { case?: string } | undefined)?.case;
    const field = oneof.fields.find((field) => field.localName === arm) ?? oneof.fields[0];
    if (field !== undefined) return field.number;
  }
  const field = schema.fields.find((field) => field.localName === name || field.name === name);
  if (field === undefined) {
    throw new SpatialdbError("FIELD_UNKNOWN", `${schema.typeName} has no field ${name}; it has ${schema.fields.map((field) => field.localName).join(", ")}`);
  }
  return field.number;
}
