// What a client in TypeScript writes, against the code that its generator makes. Compiled by `make check`, never run.

import { create, fromBinary, toBinary, type MessageInitShape } from "@bufbuild/protobuf";
import { ErrorReason } from "./generated/remit/error/v1/error_pb.js";
import { CaseState, ConnectingFactor } from "./generated/remit/event/v1/event_pb.js";
import { EvidenceSpecSchema, UploadEvidenceRequestSchema } from "./generated/remit/intake/v1/evidence_pb.js";
import {
  IntakeService,
  SubjectKind,
  SubmitReportRequestSchema,
  SubmitReportResponseSchema,
} from "./generated/remit/intake/v1/intake_pb.js";
import { FactsSchema, type WatchCasesResponse } from "./generated/remit/routing/v1/routing_pb.js";
import { ExplainRouteRequestSchema } from "./generated/remit/routing/v1/rule_set_pb.js";

const request: MessageInitShape<typeof SubmitReportRequestSchema> = {
  requestId: "0190a3c4-0000-7000-8000-000000000000",
  report: {
    category: "categories/fraud.investment",
    subjects: [{ kind: SubjectKind.URL, value: "https://shop.example/" }],
    places: [
      { factor: ConnectingFactor.VICTIM, location: { case: "territory", value: "territories/510100" } },
      { factor: ConnectingFactor.SERVER, location: { case: "regionCode", value: "US" } },
    ],
    loss: { currencyCode: "CNY", minorUnits: 12_800_000n },
    details: { "payment.paid_at": "2026-03-02T09:00:00+08:00" },
  },
};

export function submission(): Uint8Array {
  const method: "unary" = IntakeService.method.submitReport.methodKind;
  return method === "unary" ? toBinary(SubmitReportRequestSchema, create(SubmitReportRequestSchema, request)) : new Uint8Array();
}

export function receipt(response: Uint8Array): string {
  return fromBinary(SubmitReportResponseSchema, response).receipt;
}

export function* upload(bytes: Uint8Array) {
  const spec: MessageInitShape<typeof EvidenceSpecSchema> = {
    sizeBytes: BigInt(bytes.length),
    mediaType: "image/png",
    requestId: "0190a3c4-0000-7000-8000-000000000001",
  };
  yield create(UploadEvidenceRequestSchema, { part: { case: "spec", value: spec } });
  yield create(UploadEvidenceRequestSchema, { part: { case: "data", value: bytes } });
}

export function explain() {
  const facts: MessageInitShape<typeof FactsSchema> = {
    category: "categories/gambling",
    receivedBy: "agencies/police-440000",
  };
  return create(ExplainRouteRequestSchema, { facts });
}

// Either the case or the name of one that is seen no longer: the compiler knows of no third.
export function followed(told: WatchCasesResponse): string {
  const sight = told.sight?.sight;
  switch (sight?.case) {
    case "currentCase":
      return `${sight.value.name} ${CaseState[sight.value.state]}`;
    case "lostCase":
      return sight.value;
    case undefined:
      return "";
  }
}

export function waits(reason: ErrorReason): boolean {
  return [ErrorReason.OVERLOADED, ErrorReason.STORAGE_FULL, ErrorReason.UNAVAILABLE, ErrorReason.NOT_YET_LOGGED].includes(reason);
}
