// 64-bit ids: bigint for whoever uses this package, numbers inside.
//
// The protocol keeps ids below 2^53, so a number holds them exactly and lists of them are Float64Arrays.

import { SpatialdbError } from "./errors.js";

/** Ids of entities, in any form that holds them exactly. */
export type Ids = readonly bigint[] | BigUint64Array | Float64Array;

const ID_END = 2n ** 53n;

export function numberOf(id: bigint): number {
  if (id <= 0n || id >= ID_END) throw idInvalid(id);
  return Number(id);
}

export function numbersOf(ids: Ids): Float64Array {
  if (ids instanceof Float64Array) {
    for (const id of ids) if (!(id >= 1 && Number.isSafeInteger(id))) throw idInvalid(id);
    return ids;
  }
  return Float64Array.from(ids as ArrayLike<bigint>, numberOf);
}

export function bigintsOf(ids: ArrayLike<number>): bigint[] {
  return Array.from(ids, BigInt);
}

function idInvalid(id: bigint | number): SpatialdbError {
  return new SpatialdbError("ENTITY_ID_INVALID", `entity id ${id} is not a whole number from 1 to 2^53 - 1`);
}
