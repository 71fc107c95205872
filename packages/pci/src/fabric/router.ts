import type { Trace } from "@iommu-lab/core";
import { UPSTREAM_FORWARDING } from "./acs-control.ts";
import { AER_ERROR } from "./error-log.ts";
import type { Hierarchy } from "./hierarchy.ts";
import { type MemoryTarget, functionNumber } from "./memory-target.ts";
import type { Port } from "./port.ts";
import { AT_MASK, AT_TRANSLATED, AT_TRANSLATION_REQUEST, NO_PASID, REQUEST_WRITE, type Rid } from "./request.ts";
import { memoryRequestHeader, requestPrefix } from "./tlp-header.ts";

/**
 * What a root complex does with a request from one root port for memory below another. `none`: it does not route it.
 * `translated`: the request passes the IOMMU first, and the address that comes out decides. `direct`: as `translated`, but
 * a request that Request Redirect of the root port does not catch goes straight to the other port, past the IOMMU.
 *
 * Source: PCIe 6.0 §1.3.1 leaves it to the root complex.
 */
export type RootPeerToPeer = "none" | "translated" | "direct";

/** Where a request from below came to. One object per router, reused. */
export class Route {
  /** `root` = the root complex, `peer` = it turned towards a peer, or why it went no further. */
  end: "root" | "peer" | "acs" | "malformed" = "root";
  /** The check that stopped it, `""` when none did. */
  rule = "";
  /** Requester ID with which it came there: bridges put others in place of the sender's. */
  rid: Rid = 0;
  /** The port through which it goes down to its peer; undefined when the peer is in the same device. */
  down: Port | undefined = undefined;

  /** Sets everything. @returns this */
  set(end: Route["end"], rule: string, down: Port | undefined): this {
    this.end = end;
    this.rule = rule;
    this.down = down;
    return this;
  }
}

/** One memory request on its way. */
interface OnItsWay {
  rid: Rid;
  pasid: number;
  page: number;
  offset: number;
  flags: number;
  tlp: number;
}

/**
 * Takes a memory request from its function up, port by port, until it turns towards a peer, is stopped, or comes to the
 * root complex. At each port whose lower side it enters: End-End prefix, Source Validation, Translation Blocking; then, for
 * addresses below the port itself, Upstream Forwarding; for addresses below a neighbour, Direct Translated P2P, Request
 * Redirect and Egress Control. Translation Requests always go up.
 *
 * Source: PCIe 6.0 §6.12, §2.2.10.2; what a port without Upstream Forwarding does with a request that belongs back down is
 * unconfirmed: here it goes back down.
 */
export class Router {
  /** Between root ports. */
  rootPeerToPeer: RootPeerToPeer = "translated";
  readonly #hierarchy: Hierarchy;
  readonly #trace: Trace;
  readonly #route = new Route();
  readonly #now: OnItsWay = { rid: 0, pasid: NO_PASID, page: 0, offset: 0, flags: 0, tlp: 0 };

  constructor(hierarchy: Hierarchy, trace: Trace) {
    this.#hierarchy = hierarchy;
    this.#trace = trace;
  }

  /** @param tlp trace event of the request, 0 = none @returns a reused object */
  up(from: MemoryTarget, rid: Rid, pasid: number, page: number, offset: number, flags: number, tlp: number): Route {
    const now = this.#now;
    now.rid = rid;
    now.pasid = pasid;
    now.page = page;
    now.offset = offset;
    now.flags = flags;
    now.tlp = tlp;
    if (from.routesInternally && isRouted(flags)) {
      const inside = this.#inside(from);
      if (inside !== undefined) {
        return inside;
      }
    }
    for (let port = from.port; port !== undefined; port = port.upstream) {
      const turned = this.#enter(port);
      if (turned !== undefined) {
        turned.rid = now.rid;
        return turned;
      }
      now.rid = port.passedOn(now.rid);
    }
    this.#route.rid = now.rid;
    return this.#route.set("root", "", undefined);
  }

  /** Where a message from below is stopped; `""` = nowhere. Address checks do not concern it. */
  stopsMessage(from: MemoryTarget, rid: Rid, pasid: number): string {
    for (let port = from.port; port !== undefined; port = port.upstream) {
      if (pasid !== NO_PASID && !port.errors.supportsPrefix) {
        return "End-End TLP prefix not supported";
      }
      const check = port.blocks(rid, 0);
      if (check !== "") {
        return check;
      }
    }
    return "";
  }

  /** Whether every port from the function up to `top` (undefined = the root complex) reads a PASID prefix. */
  prefixPasses(target: MemoryTarget, top: Port | undefined): boolean {
    for (let port = target.port; port !== undefined; port = port.upstream) {
      if (!port.errors.supportsPrefix) {
        return false;
      }
      if (port === top) {
        return true;
      }
    }
    return true;
  }

  /** Tells the trace that something other than "up" happened to a request. */
  hop(tlp: number, at: string, what: string, rule: string): void {
    if (tlp !== 0) {
      this.#trace.emit("tlp:hop", { tlp, at, what, rule }, tlp);
    }
  }

  #inside(from: MemoryTarget): Route | undefined {
    const { page, flags } = this.#now;
    const peer = this.#hierarchy.claimantInside(from, page);
    if (peer === undefined) {
      return undefined;
    }
    const number = functionNumber(peer.rid, peer.port !== undefined);
    const decision = from.acs.towardsPeer((flags & AT_MASK) === AT_TRANSLATED, number);
    if (decision === "direct") {
      this.hop(this.#now.tlp, from.name, "internal", "");
      return this.#route.set("peer", "", undefined);
    }
    if (decision === "redirected") {
      this.hop(this.#now.tlp, from.name, "redirected", "ACS P2P Request Redirect");
      return undefined;
    }
    from.noteViolation(this.#header(), this.#prefix());
    this.hop(this.#now.tlp, from.name, "blocked", "ACS P2P Egress Control");
    return this.#route.set("acs", "ACS P2P Egress Control", undefined);
  }

  /** The request comes to a port from below; undefined = it goes on up. */
  #enter(port: Port): Route | undefined {
    const { rid, pasid, page, flags } = this.#now;
    if (pasid !== NO_PASID && !port.errors.supportsPrefix) {
      port.errors.note(AER_ERROR.malformedTlp, this.#header(), this.#prefix());
      this.hop(this.#now.tlp, port.name, "malformed", "End-End TLP prefix not supported");
      return this.#route.set("malformed", "End-End TLP prefix not supported", undefined);
    }
    if (port.kind === "upstream") {
      return undefined;
    }
    const check = port.blocks(rid, flags);
    if (check !== "") {
      return this.#blocked(port, check);
    }
    if (!isRouted(flags)) {
      return undefined;
    }
    return port.leadsTo(page) ? this.#hairpin(port) : this.#sideways(port);
  }

  #hairpin(port: Port): Route | undefined {
    if ((port.acs.control & UPSTREAM_FORWARDING) !== 0) {
      this.hop(this.#now.tlp, port.name, "forwarded", "ACS Upstream Forwarding");
      return undefined;
    }
    this.hop(this.#now.tlp, port.name, "turned back", "");
    return this.#route.set("peer", "", port);
  }

  #sideways(port: Port): Route | undefined {
    if (port.upstream === undefined && this.rootPeerToPeer !== "direct") {
      return undefined;
    }
    const { page, flags } = this.#now;
    for (const other of this.#hierarchy.portsBelow(port.upstream)) {
      if (other === port || !other.leadsTo(page)) {
        continue;
      }
      const decision = port.acs.towardsPeer((flags & AT_MASK) === AT_TRANSLATED, other.portNumber);
      if (decision === "direct") {
        this.hop(this.#now.tlp, port.name, "sideways", "");
        return this.#route.set("peer", "", other);
      }
      if (decision === "blocked") {
        return this.#blocked(port, "ACS P2P Egress Control");
      }
      this.hop(this.#now.tlp, port.name, "redirected", "ACS P2P Request Redirect");
      return undefined;
    }
    return undefined;
  }

  #blocked(port: Port, rule: string): Route {
    port.noteViolation(this.#header(), this.#prefix(), (this.#now.flags & REQUEST_WRITE) !== 0);
    this.hop(this.#now.tlp, port.name, "blocked", rule);
    return this.#route.set("acs", rule, undefined);
  }

  #header(): ReturnType<typeof memoryRequestHeader> {
    const { rid, page, offset, flags } = this.#now;
    return memoryRequestHeader(rid, page, offset, flags);
  }

  #prefix(): number {
    return requestPrefix(this.#now.pasid, this.#now.flags);
  }
}

/** Whether the address of a request decides where it goes: a Translation Request always goes up. */
function isRouted(flags: number): boolean {
  return (flags & AT_MASK) !== AT_TRANSLATION_REQUEST || (flags & REQUEST_WRITE) !== 0;
}
