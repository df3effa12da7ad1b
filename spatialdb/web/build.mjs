// Builds the page: src/ and the browser half of the TypeScript SDK into dist/page.js. src/index.html is served as it is.
//
//   node build.mjs            writes dist/
//   node build.mjs --check    fails if dist/ is not what the sources give
//   node build.mjs --watch    writes dist/page.js whenever a source changes
//
// dist/ is committed: building the server then needs no Node.
import { mkdir, readFile, access } from "node:fs/promises";
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
  if ((await readFile(options.outfile, "utf8").catch(() => "")) !== outputFiles[0].text) {
    console.error("build.mjs: dist/page.js is not up to date; run npm run build in spatialdb/web");
    process.exitCode = 1;
  }
} else {
  await mkdir(at("dist"), { recursive: true });
  if (process.argv.includes("--watch")) await (await context({ ...options, sourcemap: "inline" })).watch();
  else await build(options);
}
