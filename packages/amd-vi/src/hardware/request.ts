import type { Rid } from "@iommu-lab/pci";
import {
  AT_MASK,
  AT_TRANSLATION_REQUEST,
  NO_PASID,
  REQUEST_EXECUTE,
  REQUEST_PRIVILEGED,
  REQUEST_WRITE,
} from "@iommu-lab/pci";
import type { GuestAccess } from "./guest-walk.ts";
import type { Need } from "./walk.ts";

const INTERRUPT_FIRST = 0xfee00;
const INTERRUPT_LAST = 0xfeeff;

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
    this.execute = this.type === 0 && pasid !== NO_PASID && (flags & REQUEST_EXECUTE) !== 0;
    this.need = this.type === AT_TRANSLATION_REQUEST ? "none" : this.write ? "write" : "read";
  }

  /** It carries a PASID. */
  get hasPasid(): boolean {
    return this.carried !== NO_PASID;
  }

  /** It goes to FEE0_0000 … FEEF_FFFF without PASID: an interrupt. */
  get toInterruptRange(): boolean {
    return !this.hasPasid && this.page >= INTERRUPT_FIRST && this.page <= INTERRUPT_LAST;
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
