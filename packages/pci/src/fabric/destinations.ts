import type { PhysicalMemory } from "@iommu-lab/core";
import { COMPLETION_REDIRECT } from "./acs-control.ts";
import type { Hierarchy } from "./hierarchy.ts";
import type { MemoryTarget } from "./memory-target.ts";
import { type DmaResult, completionOf } from "./outcome.ts";
import type { Port } from "./port.ts";
import { NO_PASID, REQUEST_WRITE, type Rid } from "./request.ts";
import type { Router } from "./router.ts";

const PAGE = 4096;

/** Told about a write to a doorbell page: who wrote which 4 bytes where in the page. */
export type DoorbellListener = (rid: Rid, offset: number, data: number) => void;

/** Where memory requests end: memory of a peer, a doorbell, RAM, or nothing. */
export class Destinations {
  readonly #memory: PhysicalMemory;
  readonly #hierarchy: Hierarchy;
  readonly #router: Router;
  readonly #doorbells = new Map<number, DoorbellListener>();

  constructor(memory: PhysicalMemory, hierarchy: Hierarchy, router: Router) {
    this.#memory = memory;
    this.#hierarchy = hierarchy;
    this.#router = router;
  }

  /** Makes a host page a doorbell. */
  addDoorbell(page: number, onWrite: DoorbellListener): void {
    this.#doorbells.set(page, onWrite);
  }

  /** A request turns towards a peer before any IOMMU sees it. @param down the port to go down, undefined = same device */
  turned(
    from: MemoryTarget,
    down: Port | undefined,
    pasid: number,
    page: number,
    offset: number,
    flags: number,
    value: number,
    into: DmaResult,
  ): void {
    const peer =
      down === undefined ? this.#hierarchy.claimantInside(from, page) : this.#hierarchy.claimantBelow(down, page);
    if (peer === undefined) {
      into.status = "master-abort";
    } else {
      this.#reach(peer, down, pasid, page, offset, flags, value, into);
    }
  }

  /**
   * A request has passed the root complex and what it has of IOMMUs. Memory of a function wins over RAM at the same
   * address, as the windows of its bridges do.
   *
   * @param host host page number
   */
  fromRoot(
    from: MemoryTarget,
    rid: Rid,
    host: number,
    offset: number,
    flags: number,
    value: number,
    into: DmaResult,
  ): void {
    const peer = this.#hierarchy.claimant(host);
    if (peer === undefined) {
      this.#memoryAt(rid, host, offset, flags, value, into);
    } else if (this.#router.rootPeerToPeer === "none" && rootPortOf(from) !== rootPortOf(peer)) {
      into.status = "UR";
      into.fault = "the root complex does not route between its ports";
    } else {
      // The IOMMU has used the PASID up: what goes on is an address of the system.
      this.#reach(peer, undefined, NO_PASID, host, offset, flags, value, into);
    }
  }

  #reach(
    peer: MemoryTarget,
    top: Port | undefined,
    pasid: number,
    page: number,
    offset: number,
    flags: number,
    value: number,
    into: DmaResult,
  ): void {
    if (pasid !== NO_PASID && peer.port !== undefined && !this.#router.prefixPasses(peer, top)) {
      into.status = "malformed";
      into.fault = "End-End TLP prefix not supported";
      return;
    }
    into.peer = peer.rid;
    peer.receiveMemory(page, offset, flags, value, into);
    this.#router.hop(into.event, peer.name, "reached", "");
    const isRead = (flags & REQUEST_WRITE) === 0;
    const redirects = peer.port !== undefined && (peer.port.acs.control & COMPLETION_REDIRECT) !== 0;
    if (isRead && redirects && completionOf(into.status) !== "none") {
      this.#router.hop(into.event, peer.port?.name ?? "", "redirected", "ACS P2P Completion Redirect");
    }
  }

  #memoryAt(rid: Rid, host: number, offset: number, flags: number, value: number, into: DmaResult): void {
    const address = host * PAGE + offset;
    const isWrite = (flags & REQUEST_WRITE) !== 0;
    const doorbell = this.#doorbells.get(host);
    if (doorbell !== undefined) {
      if (isWrite) {
        doorbell(rid, offset, value >>> 0);
      } else {
        into.value = 0;
      }
    } else if (!this.#memory.exists(address)) {
      into.status = "master-abort";
    } else if (isWrite) {
      this.#memory.store32(address, value);
      this.#memory.noteWriter(address, into.event);
    } else {
      into.value = this.#memory.load32(address);
    }
  }
}

function rootPortOf(target: MemoryTarget): Port | undefined {
  let port = target.port;
  while (port?.upstream !== undefined) {
    port = port.upstream;
  }
  return port;
}
