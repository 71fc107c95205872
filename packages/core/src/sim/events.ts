/**
 * The vocabulary of the trace. It names no vendor: a vendor's own detail (an opcode, a table word) travels in the
 * fields that carry words and decoded text. 64-bit words are printed as `0x` and 16 digits; addresses are hexadecimal.
 */
export interface TraceEvents {
  /** A store to a device register of an IOMMU. */
  "mmio:write": {
    /** The region's name. */
    readonly region: string;
    /** Byte offset. */
    readonly offset: number;
    /** Bytes. */
    readonly size: 4 | 8;
    /** The value; its low u32 when 8 bytes were written. */
    readonly value: number;
    /** The high u32 when 8 bytes were written. */
    readonly high?: number;
  };
  /** A change of an in-memory structure that IOMMU hardware reads. `words` lists the whole structure, lowest word first. */
  "table:write": {
    /** The unit. */
    readonly iommu: string;
    /** The structure: `ste`, `cd`, `vtd-context`, `vtd-pasid`, `dte`, `gcr3`, … */
    readonly kind: string;
    /** Requester ID. */
    readonly rid: number;
    /** The PASID; absent when there is none. */
    readonly pasid?: number;
    /** Physical address. */
    readonly address: number;
    /** What it was. */
    readonly before: readonly string[];
    /** What it is. */
    readonly after: readonly string[];
    /** The new value in words a reader of the specification knows. */
    readonly decoded: string;
  };
  /** A command or descriptor became visible to hardware. */
  "command:submit": {
    /** The unit. */
    readonly iommu: string;
    /** Its name in the specification. */
    readonly opcode: string;
    /** Its 64-bit words. */
    readonly words: readonly string[];
    /** The whole in words. */
    readonly text: string;
  };
  /** Hardware consumed it (`submit` = the event id of its submission, 0 when unknown). */
  "command:complete": {
    /** The unit. */
    readonly iommu: string;
    /** Its name in the specification. */
    readonly opcode: string;
    /** Event id of its submission, 0 when unknown. */
    readonly submit: number;
    /** How it ended: `0`, an errno or a status. */
    readonly result: string;
  };
  /** A word was written to PCI config space by software. */
  "config:write": {
    /** The function. */
    readonly device: string;
    /** Byte offset. */
    readonly offset: number;
    /** Bytes. */
    readonly size: 1 | 2 | 4;
    /** What it was. */
    readonly before: number;
    /** What it is. */
    readonly after: number;
    /** Name of the register. */
    readonly register: string;
  };
  /** Software set or cleared ATS, PRI or PASID Enable. `enabled` is what the register reads afterwards. */
  "capability:enable": {
    /** The function. */
    readonly device: string;
    /** Which capability. */
    readonly capability: "ats" | "pri" | "pasid";
    /** What its Enable bit reads afterwards. */
    readonly enabled: boolean;
  };
  /** A request or message left its sender. `page` is the address without its low 12 bits. */
  tlp: {
    /** What it is. */
    readonly kind: string;
    /** Requester ID. */
    readonly rid: number;
    /** The PASID; absent when there is none. */
    readonly pasid?: number;
    /** Page number (address / 4096). */
    readonly page: number;
    /** Byte offset. */
    readonly offset: number;
    /** Who sent it. */
    readonly from: string;
  };
  /** What became of a request or message; `tlp` is its event id. */
  "tlp:result": {
    /** Event id of the request or message. */
    readonly tlp: number;
    /** Completion status or fate. */
    readonly status: string;
    /** Page number (address / 4096). */
    readonly page?: number;
    /** Read permission. */
    readonly read?: boolean;
    /** Write permission, or whether it was a write. */
    readonly write?: boolean;
  };
  /** A request did something other than going up: it was redirected, turned towards a peer, or stopped. */
  "tlp:hop": {
    /** Event id of the request. */
    readonly tlp: number;
    /** The port or function. */
    readonly at: string;
    /** What happened, in plain words. */
    readonly what: string;
    /** The rule that did it, empty when none had to. */
    readonly rule: string;
  };
  /** A partner broke a rule of the protocol; the model goes on as a part that has no better way. */
  "protocol:error": {
    /** Who noticed. */
    readonly device: string;
    /** What happened. */
    readonly what: string;
    /** The section that forbids it. */
    readonly source: string;
  };
  /** IOMMU hardware refused a request. `recorded` says whether software can read a record of it. */
  fault: {
    /** The unit. */
    readonly iommu: string;
    /** Requester ID. */
    readonly rid: number;
    /** The PASID; absent when there is none. */
    readonly pasid?: number;
    /** Page number (address / 4096). */
    readonly page: number;
    /** Its code in the specification. */
    readonly code: string;
    /** Its name in the specification. */
    readonly name: string;
    /** Whether software can read a record of it. */
    readonly recorded: boolean;
    /** The trace event that last wrote the table line at fault, 0 when unknown. */
    readonly table: number;
  };
  /** An Invalidate Request got no completion in time. */
  "invalidate:timeout": {
    /** The unit. */
    readonly iommu: string;
    /** Requester ID. */
    readonly rid: number;
    /** The ITag, 0 to 31. */
    readonly itag: number;
  };
  /** An ATC took in, used up or lost entries. */
  atc: {
    /** The function. */
    readonly device: string;
    /** What happened. */
    readonly what: "fill" | "invalidate" | "clear" | "drop";
    /** Page number (address / 4096). */
    readonly page?: number;
    /** The PASID; absent when there is none. */
    readonly pasid?: number;
    /** How many entries. */
    readonly entries: number;
    /** Why, in plain words. */
    readonly reason?: string;
  };
  /** A CXL.cache access with a host physical address; no IOMMU sees it. */
  "cxl:cache": {
    /** The function. */
    readonly device: string;
    /** Page number (address / 4096). */
    readonly page: number;
    /** Write permission, or whether it was a write. */
    readonly write: boolean;
    /** How it ended: `0`, an errno or a status. */
    readonly result: string;
  };
  /** A message-signalled interrupt was written. */
  msi: {
    /** The function. */
    readonly device: string;
    /** Page number (address / 4096). */
    readonly page: number;
    /** How it ended: `0`, an errno or a status. */
    readonly result: string;
  };
  /** A function lost state. */
  "device:reset": {
    /** The function. */
    readonly device: string;
    /** What it is. */
    readonly kind: string;
    /** Which end of it. */
    readonly phase: "begin" | "end";
  };
  /** A device was probed by the IOMMU core. */
  "device:probe": {
    /** The function. */
    readonly device: string;
    /** How it ended: `0`, an errno or a status. */
    readonly result: string;
  };
  /** The driver's last probe step is about to run. */
  "device:probe-finalize": {
    /** The function. */
    readonly device: string;
  };
  /** The IOMMU core forgot a device. */
  "device:release": {
    /** The function. */
    readonly device: string;
  };
  /** A group came into being. */
  "group:create": {
    /** Number of the group. */
    readonly group: number;
    /** The function. */
    readonly device: string;
  };
  /** A device joined a group. */
  "group:join": {
    /** Number of the group. */
    readonly group: number;
    /** The function. */
    readonly device: string;
  };
  /** A group got a default domain. */
  "group:default-domain": {
    /** Number of the group. */
    readonly group: number;
    /** The domain, as `TYPE#number`. */
    readonly domain: string;
    /** Its type. */
    readonly domainType: string;
  };
  /** The users of a group changed. */
  "group:owner": {
    /** Number of the group. */
    readonly group: number;
    /** The owner, empty when there is none. */
    readonly owner: string;
    /** How many. */
    readonly count: number;
  };
  /** A driver's attach is about to run. */
  "domain:attach": {
    /** The function. */
    readonly device: string;
    /** The domain, as `TYPE#number`. */
    readonly domain: string;
    /** Its type. */
    readonly domainType: string;
    /** What was attached before. */
    readonly old: string;
    /** Which flow asked. */
    readonly via: string;
  };
  /** The attach came back: `0` or an errno. */
  "domain:attached": {
    /** The function. */
    readonly device: string;
    /** The domain, as `TYPE#number`. */
    readonly domain: string;
    /** How it ended: `0`, an errno or a status. */
    readonly result: string;
  };
  /** A driver's PASID set or removal is about to run. */
  "pasid:set": {
    /** The function. */
    readonly device: string;
    /** The PASID; absent when there is none. */
    readonly pasid: number;
    /** The domain, as `TYPE#number`. */
    readonly domain: string;
    /** Its type. */
    readonly domainType: string;
    /** What was attached before. */
    readonly old: string;
  };
  /** It came back. */
  "pasid:done": {
    /** The function. */
    readonly device: string;
    /** The PASID; absent when there is none. */
    readonly pasid: number;
    /** The domain, as `TYPE#number`. */
    readonly domain: string;
    /** How it ended: `0`, an errno or a status. */
    readonly result: string;
  };
  /** Pages of a domain were mapped or unmapped. */
  "map:change": {
    /** The domain, as `TYPE#number`. */
    readonly domain: string;
    /** Page number (address / 4096). */
    readonly page: number;
    /** How many. */
    readonly count: number;
    /** What happened. */
    readonly what: "map" | "unmap";
  };
  /** A device driver was bound, or was refused. */
  "driver:bind": {
    /** The function. */
    readonly device: string;
    /** The device driver. */
    readonly driver: string;
    /** How it ended: `0`, an errno or a status. */
    readonly result: string;
  };
  /** It was unbound. */
  "driver:unbind": {
    /** The function. */
    readonly device: string;
    /** The device driver. */
    readonly driver: string;
  };
  /** The link below a port went down, trains, or is up again. */
  "reset:link": {
    /** The port. */
    readonly port: string;
    /** What the link is now. */
    readonly state: "down" | "training" | "up";
    /** What did it, in a word. */
    readonly reason: string;
  };
  /** Downstream Port Containment was triggered, or software ended it. */
  "reset:dpc": {
    /** The port. */
    readonly port: string;
    /** Which end of it. */
    readonly phase: "trigger" | "clear";
    /** What did it, in a word. */
    readonly reason: string;
    /** How the port tells about a trigger. */
    readonly notification: "interrupt" | "err-cor" | "none";
  };
  /** The kernel tried one of its reset methods on a function, or probed whether it would work. */
  "reset:method": {
    /** The function. */
    readonly device: string;
    /** Its name in sysfs `reset_method`. */
    readonly method: string;
    /** Whether it was a probe, which resets nothing. */
    readonly probe: boolean;
    /** `0` or an errno. */
    readonly result: string;
  };
  /** The core parks a function for a reset. */
  "reset:prepare": {
    /** The function. */
    readonly device: string;
    /** Nesting depth. */
    readonly depth: number;
  };
  /** The core lets it go again. */
  "reset:done": {
    /** The function. */
    readonly device: string;
    /** Nesting depth. */
    readonly depth: number;
  };
  /** A policy or a rule was asked. `reason` is plain text for a reader; `source` names function or section. */
  decision: {
    /** Its name. */
    readonly rule: string;
    /** The function. */
    readonly device: string;
    /** What it was asked. */
    readonly input: string;
    /** What it answered. */
    readonly answer: string;
    /** Why, in plain words. */
    readonly reason: string;
    /** The function or section that states it. */
    readonly source: string;
    /** How sure it is. */
    readonly basis: Basis;
  };
  /** The kernel's WARN: the flow goes on. */
  warn: {
    /** The kernel function. */
    readonly where: string;
    /** What happened. */
    readonly what: string;
  };
  /** A mark set by whoever drives the platform: a scenario's step, a question of a probe. */
  mark: {
    /** What happened. */
    readonly what: string;
  };
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

/** What tells events apart. */
export interface TraceKind<K extends TraceEventName> {
  /** The event's name. */
  readonly type: K;
}

/** One event of the trace. */
export type TraceEvent = {
  readonly [K in TraceEventName]: TraceHeader & TraceKind<K> & TraceEvents[K];
}[TraceEventName];
