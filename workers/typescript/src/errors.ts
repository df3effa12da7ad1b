// Everything that can go wrong for a worker.
//
// Responsible for: the error classes, and which of them end a session for good.
// Not responsible for: rejections of single rows. Those are normal outcomes and arrive as data.

/** An error that the server gave, or this SDK in the same form: `reason` is a word that programs compare. */
export class SpatialdbError extends Error {
  override readonly name: string = "SpatialdbError";
  readonly reason: string;
  readonly detail: string;
  /** The gRPC code, where the server gave one. */
  readonly code: GrpcCode | undefined;

  constructor(reason: string, detail: string, code?: GrpcCode, cause?: unknown) {
    super(`${reason}: ${detail}`, cause === undefined ? undefined : { cause });
    this.reason = reason;
    this.detail = detail;
    this.code = code;
  }

  /** Whether connecting again cannot help. */
  get isFinal(): boolean {
    return this.reason === "SESSION_REPLACED" || this.reason === "CLOSED" ||
      (this.code !== undefined && FINAL_CODES.has(this.code));
  }
}

/** The server sent what the protocol does not allow. */
export class ProtocolError extends SpatialdbError {
  override readonly name = "ProtocolError";

  constructor(detail: string) {
    super("PROTOCOL_BROKEN", detail);
  }
}

/** The numbers of gRPC's status codes that matter here. */
export enum GrpcCode {
  Ok = 0,
  Unknown = 2,
  InvalidArgument = 3,
  DeadlineExceeded = 4,
  NotFound = 5,
  PermissionDenied = 7,
  ResourceExhausted = 8,
  Unimplemented = 12,
  Internal = 13,
  Unavailable = 14,
  Unauthenticated = 16,
}

const FINAL_CODES: ReadonlySet<number> = new Set([
  GrpcCode.InvalidArgument, GrpcCode.PermissionDenied, GrpcCode.Unimplemented, GrpcCode.Unauthenticated,
]);

/** There is no session now; the worker is connecting again. Nothing of the call was sent. */
export function disconnected(): SpatialdbError {
  return new SpatialdbError("DISCONNECTED", "no session: the connection is down; wait for `reconnected`");
}

/** The connection broke after sending: whether it was applied is not known. */
export function fateUnknown(messages: number, cause: SpatialdbError): SpatialdbError {
  const detail = `the connection broke while ${messages} messages were not decided; they may or may not have been applied`;
  return new SpatialdbError("DISCONNECTED", detail, undefined, cause);
}

/** An argument that cannot be sent. */
export function invalid(detail: string): SpatialdbError {
  return new SpatialdbError("ARGUMENT_INVALID", detail);
}
