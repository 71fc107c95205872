// Finds kernel operations that nobody runs. Calling a generator function runs none of it: `attach(device);` compiles, and
// does nothing; it should be `yield* attach(device);` or `platform.run(attach(device));`.
import path from "node:path";
import ts from "typescript";

const root = path.resolve(import.meta.dirname, "..");

/** The expressions whose value is thrown away, or only looked at as true or false. */
function dropped(node) {
  if (ts.isExpressionStatement(node) || ts.isIfStatement(node) || ts.isWhileStatement(node)) {
    return [node.expression];
  }
  if (ts.isPrefixUnaryExpression(node)) {
    return [node.operand];
  }
  return ts.isConditionalExpression(node) ? [node.condition] : [];
}

function isVoid(type) {
  return (type.flags & ts.TypeFlags.Void) !== 0;
}

/** Every place in a program's own files where a generator is made and dropped, as "file:line:column what". */
export function floatingOps(program, isOwn) {
  const checker = program.getTypeChecker();
  const found = [];

  const isGenerator = (type) =>
    type.isUnion() ? type.types.some(isGenerator) : /^(?:Async)?Generator$/.test(type.symbol?.name ?? "");

  const returns = (type, matches) =>
    type.getCallSignatures().some((signature) => matches(checker.getReturnTypeOfSignature(signature)));

  const report = (node, what) => {
    const file = node.getSourceFile();
    const { line, character } = file.getLineAndCharacterOfPosition(node.getStart());
    found.push(`${path.relative(root, file.fileName)}:${line + 1}:${character + 1} ${what}`);
  };

  /** The calls whose value an expression has. */
  const callsOf = (node) => {
    if (ts.isCallExpression(node)) {
      return [node];
    }
    if (ts.isParenthesizedExpression(node) || ts.isVoidExpression(node)) {
      return callsOf(node.expression);
    }
    if (ts.isConditionalExpression(node)) {
      return [...callsOf(node.whenTrue), ...callsOf(node.whenFalse)];
    }
    const isAssignment = ts.isBinaryExpression(node) && node.operatorToken.kind === ts.SyntaxKind.EqualsToken;
    return ts.isBinaryExpression(node) && !isAssignment ? [...callsOf(node.left), ...callsOf(node.right)] : [];
  };

  const visit = (node) => {
    for (const call of dropped(node).flatMap(callsOf)) {
      if (isGenerator(checker.getTypeAtLocation(call))) {
        report(call, "makes an operation and does not run it");
      }
    }
    if (ts.isCallExpression(node)) {
      for (const argument of node.arguments) {
        const wanted = checker.getContextualType(argument);
        if (
          wanted !== undefined &&
          returns(wanted, isVoid) &&
          returns(checker.getTypeAtLocation(argument), isGenerator)
        ) {
          report(argument, "gives an operation to a caller that runs plain functions");
        }
      }
    }
    ts.forEachChild(node, visit);
  };

  for (const file of program.getSourceFiles()) {
    if (isOwn(file.fileName)) {
      visit(file);
    }
  }
  return found;
}

if (process.argv[1] === import.meta.filename) {
  const config = ts.getParsedCommandLineOfConfigFile(path.join(root, "tsconfig.base.json"), {}, ts.sys);
  const files = ts.sys.readDirectory(path.join(root, "packages"), [".ts"], ["**/node_modules", "**/dist"]);
  const program = ts.createProgram(files, {
    ...config.options,
    types: ["node"],
    composite: false,
    incremental: false,
    noEmit: true,
  });
  const found = floatingOps(program, (file) => files.includes(file));
  console.log([...found, `${files.length} files, ${found.length} operations that nobody runs`].join("\n"));
  process.exitCode = files.length > 0 && found.length === 0 ? 0 : 1;
}
