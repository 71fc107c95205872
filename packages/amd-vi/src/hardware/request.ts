import type { Rid } from "@iommu-lab/pci";
import {
  AT_MASK,
  AT_TRANSLATION_REQUEST,
  AT_UNTRANSLATED,
  NO_PASID,
  REQUEST_EXECUTE,
  REQUEST_NO_WRITE,
  REQUEST_PRIVILEGED,
  REQUEST_WRITE,
} from "@iommu-lab/pci";
import type { GuestAccess } from "./guest-walk.ts";
import type { Need } from "./walk.ts";

/** One memory request, taken apart. One object per unit, reused. */
export class Request implements GuestAccess {
  rid: Rid = 0;
  /** The PASID it carries, or NO_PASID. */
  carried: number = NO_PASID;
  /** The PASID whose guest table it uses: what it carries, or 0 through GIoV. */
  pasid = 0;
  page = 0;
  offset = 0;
  /** AT. */
  type = 0;
  write = false;
  privileged = false;
  execute = false;
  need: Need = "none";
  /** It is a write, or a Translation Request that asks for write permission (NW=0) and so may write unseen. */
  dirties = false;

  /** Takes a request apart. */
  set(rid: Rid, pasid: number, page: number, offset: number, flags: number): void {
    this.rid = rid;
    this.carried = pasid;
    this.pasid = pasid === NO_PASID ? 0 : pasid;
    this.page = page;
    this.offset = offset;
    this.type = flags & AT_MASK;
    this.write = (flags & REQUEST_WRITE) !== 0;
    this.privileged = pasid !== NO_PASID && (flags & REQUEST_PRIVILEGED) !== 0;
    this.execute = this.type === AT_UNTRANSLATED && pasid !== NO_PASID && (flags & REQUEST_EXECUTE) !== 0;
    const asks = this.type === AT_TRANSLATION_REQUEST;
    this.need = asks ? "none" : this.write ? "write" : "read";
    this.dirties = asks ? (flags & REQUEST_NO_WRITE) === 0 : this.write;
  }

  /** It carries a PASID. */
  get hasPasid(): boolean {
    return this.carried !== NO_PASID;
  }

  /** Bits 31:0 of its address. */
  get lo(): number {
    return ((this.page % 2 ** 20) * 4096 + this.offset) >>> 0;
  }

  /** Bits 63:32 of its address. */
  get hi(): number {
    return Math.floor(this.page / 2 ** 20) >>> 0;
  }
}
