/**
 * Arm SMMUv3: the hardware, bit exact, and Linux's driver for it.
 *
 * @packageDocumentation
 */
export { ATS_SLOT, atsPolicyOf, smmuv3OnDemand } from "./ats-policy.ts";
export { ArmSmmuV3Driver } from "./driver/driver.ts";
export { type CachePolicy } from "./hardware/config-cache.ts";
export { Smmu } from "./hardware/smmu.ts";
export { type IdRegisters } from "./layout/id-registers.ts";
export { SMMUV3_DRIVER, SMMUV3_HARDWARE, type Smmuv3Options, idRegistersOf, smmuv3 } from "./plugin.ts";
