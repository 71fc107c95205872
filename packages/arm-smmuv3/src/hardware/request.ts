import {
  AT_MASK,
  NO_PASID,
  REQUEST_EXECUTE,
  REQUEST_NO_WRITE,
  REQUEST_PRIVILEGED,
  REQUEST_SOURCE_CXL,
  REQUEST_WRITE,
  type Rid,
} from "@iommu-lab/pci";
import type { Identification } from "../layout/id-registers.ts";
import type { StreamEntry } from "./stream-entry.ts";

const OVERRIDE_OFF = 2;
const OVERRIDE_ON = 3;

/** One memory request, taken apart. One object per SMMU, reused. */
export class Request {
  rid: Rid = 0;
  /** StreamID. */
  sid = 0;
  /** NO_PASID when it carries none. */
  pasid: number = NO_PASID;
  page = 0;
  offset = 0;
  /** AT. */
  type = 0;
  write = false;
  /** NW of a Translation Request. */
  noWrite = false;
  /** Source-CXL of a Translation Request. */
  sourceCxl = false;
  /** PnU, as it counts for the check. */
  privileged = false;
  /** InD, as it counts for the check. */
  instruction = false;
  /** Priv as sent. */
  privRequested = false;
  /** Exe as sent. */
  execRequested = false;

  /** Takes a request apart. Without PASID it is unprivileged data. */
  set(rid: Rid, sid: number, pasid: number, page: number, offset: number, flags: number): void {
    const substream = pasid !== NO_PASID;
    this.rid = rid;
    this.sid = sid;
    this.pasid = pasid;
    this.page = page;
    this.offset = offset;
    this.type = flags & AT_MASK;
    this.write = (flags & REQUEST_WRITE) !== 0;
    this.noWrite = (flags & REQUEST_NO_WRITE) !== 0;
    this.sourceCxl = (flags & REQUEST_SOURCE_CXL) !== 0;
    this.privRequested = substream && (flags & REQUEST_PRIVILEGED) !== 0;
    this.execRequested = substream && (flags & REQUEST_EXECUTE) !== 0;
    this.privileged = this.privRequested;
    this.instruction = this.execRequested && !this.write;
  }

  /** One of its own, for a transaction that waits. */
  copy(): Request {
    return Object.assign(new Request(), this);
  }

  /** STE.PRIVCFG and INSTCFG, where the SMMU has them. Source: SMMUv3 §13.5. */
  override(stream: StreamEntry, id: Identification): void {
    if (!id.attributePermissionsOverride) {
      return;
    }
    if (stream.privCfg >= OVERRIDE_OFF) {
      this.privileged = stream.privCfg === OVERRIDE_ON;
    }
    if (stream.instCfg >= OVERRIDE_OFF) {
      this.instruction = stream.instCfg === OVERRIDE_ON && !this.write;
    }
  }
}
