import type { ConfigSpace } from "../config-space/config-space.ts";
import { EXT_CAP_ID_ACS } from "../config-space/extended-layouts.ts";

const CAPABILITY = 4;
const CONTROL = 6;
const VECTOR = 8;

/** Source Validation. */
export const SOURCE_VALIDATION = 1;
/** Translation Blocking. */
export const TRANSLATION_BLOCKING = 2;
/** P2P Request Redirect. */
const REQUEST_REDIRECT = 4;
/** P2P Completion Redirect. */
export const COMPLETION_REDIRECT = 8;
/** Upstream Forwarding. */
export const UPSTREAM_FORWARDING = 0x10;
/** P2P Egress Control. */
const EGRESS_CONTROL = 0x20;
/** Direct Translated P2P. */
const DIRECT_TRANSLATED = 0x40;

/** What a peer-to-peer request meets at a port or in a multi-function device. */
export type PeerDecision = "direct" | "redirected" | "blocked";

/** The ACS registers of one function, read anew for each decision. Source: PCIe 6.0 §6.12, §7.7.11. */
export class AcsControl {
  readonly #config: ConfigSpace;
  readonly #at: number;

  constructor(config: ConfigSpace) {
    this.#config = config;
    this.#at = config.findExtendedCapability(EXT_CAP_ID_ACS);
  }

  /** ACS Capability; 0 without one. */
  get capability(): number {
    return this.#at === 0 ? 0 : this.#config.read16(this.#at + CAPABILITY);
  }

  /** ACS Control; 0 without a capability. */
  get control(): number {
    return this.#at === 0 ? 0 : this.#config.read16(this.#at + CONTROL);
  }

  /**
   * What becomes of a request between two peers. Direct Translated P2P lets a Translated request through whatever the
   * other bits say. With Egress Control the vector decides: a peer whose bit is 0 is reached directly; one whose bit is 1
   * is reached through the root complex with Request Redirect, and not at all without it.
   *
   * Source: PCIe 6.0 §6.12.3 (interaction of Request Redirect and Egress Control).
   *
   * @param translated the request has AT=10
   * @param peer bit of the peer in the egress vector: its port number, or its function number in a multi-function device
   */
  towardsPeer(translated: boolean, peer: number): PeerDecision {
    const { control } = this;
    if (translated && (control & DIRECT_TRANSLATED) !== 0) {
      return "direct";
    }
    const redirect = (control & REQUEST_REDIRECT) !== 0;
    if ((control & EGRESS_CONTROL) === 0) {
      return redirect ? "redirected" : "direct";
    }
    if (!this.#inVector(peer)) {
      return "direct";
    }
    return redirect ? "redirected" : "blocked";
  }

  /** Whether the Egress Control Vector has a bit for this peer and it is 1. */
  #inVector(peer: number): boolean {
    const size = this.capability >>> 8 || 256;
    return peer < size && (this.#config.read8(this.#at + VECTOR + (peer >>> 3)) & (1 << (peer & 7))) !== 0;
  }
}
