/**
 * The vocabulary of the trace. It names no vendor: a vendor's own detail (an opcode, a table word) travels in the
 * fields that carry words and decoded text. 64-bit words are printed as `0x` and 16 digits; addresses are hexadecimal.
 */
export interface TraceEvents {
  /** A store to a device register of an IOMMU. */
  "mmio:write": {
    readonly region: string;
    readonly offset: number;
    readonly size: 4 | 8;
    readonly value: number;
    readonly high?: number;
  };
  /** A change of an in-memory structure that IOMMU hardware reads. `words` lists the whole structure, lowest word first. */
  "table:write": {
    readonly iommu: string;
    /** The structure: `ste`, `cd`, `vtd-context`, `vtd-pasid`, `dte`, `gcr3`, … */
    readonly kind: string;
    readonly rid: number;
    readonly pasid?: number;
    readonly address: number;
    readonly before: readonly string[];
    readonly after: readonly string[];
    /** The new value in words a reader of the specification knows. */
    readonly decoded: string;
  };
  /** A command or descriptor became visible to hardware. */
  "command:submit": {
    readonly iommu: string;
    readonly opcode: string;
    readonly words: readonly string[];
    readonly text: string;
  };
  /** Hardware consumed it (`submit` = the event id of its submission, 0 when unknown). */
  "command:complete": {
    readonly iommu: string;
    readonly opcode: string;
    readonly submit: number;
    readonly result: string;
  };
  /** A word was written to PCI config space by software. */
  "config:write": {
    readonly device: string;
    readonly offset: number;
    readonly size: 1 | 2 | 4;
    readonly before: number;
    readonly after: number;
    readonly register: string;
  };
  /** Software set or cleared ATS, PRI or PASID Enable. `enabled` is what the register reads afterwards. */
  "capability:enable": {
    readonly device: string;
    readonly capability: "ats" | "pri" | "pasid";
    readonly enabled: boolean;
  };
  /** A request or message left its sender. `page` is the address without its low 12 bits. */
  tlp: {
    readonly kind: string;
    readonly rid: number;
    readonly pasid?: number;
    readonly page: number;
    readonly offset: number;
    readonly from: string;
  };
  /** What became of a request or message; `tlp` is its event id. */
  "tlp:result": {
    readonly tlp: number;
    readonly status: string;
    readonly page?: number;
    readonly read?: boolean;
    readonly write?: boolean;
  };
  /** IOMMU hardware refused a request. `recorded` says whether software can read a record of it. */
  fault: {
    readonly iommu: string;
    readonly rid: number;
    readonly pasid?: number;
    readonly page: number;
    readonly code: string;
    readonly name: string;
    readonly recorded: boolean;
    /** The trace event that last wrote the table line at fault, 0 when unknown. */
    readonly table: number;
  };
  /** An Invalidate Request got no completion in time. */
  "invalidate:timeout": { readonly iommu: string; readonly rid: number; readonly itag: number };
  /** An ATC took in, used up or lost entries. */
  atc: {
    readonly device: string;
    readonly what: "fill" | "invalidate" | "clear" | "drop";
    readonly page?: number;
    readonly pasid?: number;
    readonly entries: number;
    readonly reason?: string;
  };
  /** A CXL.cache access with a host physical address; no IOMMU sees it. */
  "cxl:cache": { readonly device: string; readonly page: number; readonly write: boolean; readonly result: string };
  /** A message-signalled interrupt was written. */
  msi: { readonly device: string; readonly page: number; readonly result: string };
  /** A function lost state. */
  "device:reset": { readonly device: string; readonly kind: string; readonly phase: "begin" | "end" };
  "device:probe": { readonly device: string; readonly result: string };
  "device:probe-finalize": { readonly device: string };
  "device:release": { readonly device: string };
  "group:create": { readonly group: number; readonly device: string };
  "group:join": { readonly group: number; readonly device: string };
  "group:default-domain": { readonly group: number; readonly domain: string; readonly domainType: string };
  "group:owner": { readonly group: number; readonly owner: string; readonly count: number };
  /** A driver's attach is about to run. */
  "domain:attach": {
    readonly device: string;
    readonly domain: string;
    readonly domainType: string;
    readonly old: string;
    readonly via: string;
  };
  /** The attach came back: `0` or an errno. */
  "domain:attached": { readonly device: string; readonly domain: string; readonly result: string };
  "pasid:set": {
    readonly device: string;
    readonly pasid: number;
    readonly domain: string;
    readonly domainType: string;
    readonly old: string;
  };
  "pasid:done": { readonly device: string; readonly pasid: number; readonly domain: string; readonly result: string };
  "map:change": {
    readonly domain: string;
    readonly page: number;
    readonly count: number;
    readonly what: "map" | "unmap";
  };
  "driver:bind": { readonly device: string; readonly driver: string; readonly result: string };
  "driver:unbind": { readonly device: string; readonly driver: string };
  "reset:prepare": { readonly device: string; readonly depth: number };
  "reset:done": { readonly device: string; readonly depth: number };
  /** A policy or a rule was asked. `reason` is plain text for a reader; `source` names function or section. */
  decision: {
    readonly rule: string;
    readonly device: string;
    readonly input: string;
    readonly answer: string;
    readonly reason: string;
    readonly source: string;
    readonly basis: Basis;
  };
  /** The kernel's WARN: the flow goes on. */
  warn: { readonly where: string; readonly what: string };
  /** A mark set by whoever drives the platform: a scenario's step, a question of a probe. */
  mark: { readonly what: string };
}

/**
 * How sure a modelled rule is: seen on a recorded kernel, read in the source, stated by a specification, concluded from
 * several of these, or not confirmed by any.
 */
export type Basis = "recorded" | "source" | "specified" | "derived" | "unconfirmed";

/** The names of all trace events. */
export type TraceEventName = keyof TraceEvents;

/** What every event carries besides its own fields. */
export interface TraceHeader {
  /** Position in the trace, from 1. */
  readonly id: number;
  /** Virtual time in ns. */
  readonly time: number;
  /** Who did it: an operation or an engine, by name. */
  readonly actor: string;
  /** The id of the event that led to it; 0 = none known. */
  readonly cause: number;
}

/** One event of the trace. */
export type TraceEvent = {
  readonly [K in TraceEventName]: TraceHeader & { readonly type: K } & TraceEvents[K];
}[TraceEventName];
