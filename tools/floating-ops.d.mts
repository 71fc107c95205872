import type ts from "typescript";

export function floatingOps(program: ts.Program, isOwn: (file: string) => boolean): string[];
