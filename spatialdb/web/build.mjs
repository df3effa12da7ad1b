// Builds the page: src/ and the browser half of the TypeScript SDK into dist/index.html and dist/page.js.
//
//   node build.mjs            writes dist/
//   node build.mjs --check    fails if dist/ is not what the sources give
//   node build.mjs --watch    writes dist/page.js whenever a source changes
//
// dist/ is committed: building the server then needs no Node.
import { cp, mkdir, readFile, access } from "node:fs/promises";
import { fileURLToPath } from "node:url";
import { build, context } from "esbuild";

const at = (path) => fileURLToPath(new URL(path, import.meta.url));

await access(at("../../workers/typescript/node_modules/@bufbuild/protobuf")).catch(() => {
  console.error("build.mjs: workers/typescript has no node_modules; run npm ci there");
  process.exit(1);
});

const options = {
  entryPoints: [at("src/main.ts")],
  outfile: at("dist/page.js"),
  bundle: true,
  minify: true,
  format: "esm",
  target: ["es2022"],
  legalComments: "none",
  charset: "utf8",
  logLevel: "warning",
};

if (process.argv.includes("--check")) {
  const { outputFiles } = await build({ ...options, write: false });
  const pairs = [["dist/page.js", outputFiles[0].text], ["dist/index.html", await readFile(at("src/index.html"), "utf8")]];
  for (const [path, expected] of pairs) {
    if ((await readFile(at(path), "utf8").catch(() => "")) === expected) continue;
    console.error(`build.mjs: ${path} is not up to date; run npm run build in spatialdb/web`);
    process.exitCode = 1;
  }
} else {
  await mkdir(at("dist"), { recursive: true });
  await cp(at("src/index.html"), at("dist/index.html"));
  if (process.argv.includes("--watch")) await (await context({ ...options, sourcemap: "inline" })).watch();
  else await build(options);
}
