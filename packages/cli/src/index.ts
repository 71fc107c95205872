/**
 * The command `iommu-lab`: its backends and policies, for those who build a command of their own.
 *
 * @packageDocumentation
 */
export { backends, backendsNamed } from "./backends.ts";
export { policies } from "./policies.ts";
