// One attempt to attach: dialling, Hello, Welcome.
//
// Responsible for: the time it may take, and that nothing of a connection is heard after its end.
// Not responsible for: what comes after Welcome (session.ts), trying again (worker.ts).

import { create } from "@bufbuild/protobuf";
import { HelloSchema, type Welcome } from "./gen/spatialdb/v1/worker_pb.js";
import { GrpcCode, ProtocolError, SpatialdbError } from "./errors.js";
import type { Settings } from "./options.js";
import type { Link, Transport } from "./transport/transport.js";
import { decodeServerMessage } from "./wire/frame.js";

const PROTOCOL_VERSION = 1;

/** Who hears of a connection, from Welcome on. */
export interface Attached {
  /** The first call. */
  begin(link: Link, welcome: Welcome): void;
  /** One encoded ServerMessage. What this throws ends the connection. */
  message(bytes: Uint8Array): void;
  /** There is room to write again. */
  room(): void;
  /** The last call: the connection is gone. */
  lost(error: SpatialdbError): void;
}

/** Resolves once the worker is welcomed; rejects, and calls nobody, if it is not. */
export function attach(transport: Transport, settings: Settings, attached: Attached): Promise<void> {
  const { workerType, name, token, instance, attemptTimeoutMs } = settings;
  const hello = create(HelloSchema, {
    protocolMin: PROTOCOL_VERSION, protocolMax: PROTOCOL_VERSION, workerType, name, token, instance,
  });
  return new Promise((resolve, reject) => {
    let over = false;
    let welcomed = false;
    // What comes right behind Welcome waits until whoever awaits this has had a turn to listen.
    let early: Uint8Array[] | undefined = [];
    const finish = (error: SpatialdbError) => {
      takeEarly();
      if (over) return;
      over = true;
      clearTimeout(timeout);
      link.abort();
      if (welcomed) attached.lost(error);
      else reject(error);
    };
    const attempt = (act: () => void) => {
      try {
        if (!over) act();
      } catch (error) {
        finish(error instanceof SpatialdbError ? error : new SpatialdbError("INTERNAL", String(error), GrpcCode.Internal, error));
      }
    };
    const takeEarly = () => {
      const waiting = early ?? [];
      early = undefined;
      for (const bytes of waiting) attempt(() => attached.message(bytes));
    };
    const timeout = setTimeout(() => {
      const detail = `spatialdb did not welcome the worker within ${attemptTimeoutMs} ms`;
      finish(new SpatialdbError("WELCOME_TIMEOUT", detail, GrpcCode.DeadlineExceeded));
    }, attemptTimeoutMs);
    const link = transport.open(hello, {
      message: (bytes) => attempt(() => {
        if (welcomed) return early === undefined ? attached.message(bytes) : void early.push(bytes);
        const welcome = welcomeOf(bytes);
        welcomed = true;
        clearTimeout(timeout);
        setTimeout(takeEarly);
        attached.begin(link, welcome);
        resolve();
      }),
      room: () => { if (!over) attached.room(); },
      end: (error) => finish(error ?? new SpatialdbError("UNREACHABLE", "the server closed the stream", GrpcCode.Unavailable)),
    });
  });
}

function welcomeOf(bytes: Uint8Array): Welcome {
  const first = decodeServerMessage(bytes);
  const body = "message" in first ? first.message.body : undefined;
  if (body?.case === "welcome") return body.value;
  if (body?.case === "goodbye") throw new SpatialdbError(body.value.reason, body.value.detail, GrpcCode.Unavailable);
  throw new ProtocolError("the server answered Hello without Welcome");
}
