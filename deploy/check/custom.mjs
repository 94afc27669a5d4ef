// Objects of other projects against their own schemas: reads JSON [{where, object}] from standard input, and prints JSON
// [{where, problem}], where the problem of a kind without a schema is null. The schemas pass over fields that they do not
// know, as a cluster would; what no schema looked at is therefore told, too.
import { readFileSync } from "node:fs";

const PACKAGES = {
  "monitoring.coreos.com": "prometheus-operator",
  "gateway.networking.k8s.io": "gateway-api",
  "cert-manager.io": "cert-manager",
};

/** The value, which notes in `seen` each path that somebody reads. */
function watched(value, path, seen) {
  if (value === null || typeof value !== "object") return value;
  const inner = new Map();
  return new Proxy(value, {
    get(target, key) {
      if (typeof key === "symbol" || !Object.hasOwn(target, key)) return target[key];
      const at = `${path}/${key}`;
      seen.add(at);
      if (!inner.has(key)) inner.set(key, watched(target[key], at, seen));
      return inner.get(key);
    },
  });
}

function* paths(value, path = "") {
  if (value === null || typeof value !== "object") return;
  for (const [key, inner] of Object.entries(value)) {
    yield `${path}/${key}`;
    yield* paths(inner, `${path}/${key}`);
  }
}

async function validator({ apiVersion, kind }) {
  const [group, version] = apiVersion.split("/");
  const name = PACKAGES[group];
  if (!name) return null;
  // The model's file names the file of its schema.
  const folder = `${process.argv[2]}/node_modules/@kubernetes-models/${name}`;
  const model = `${folder}/${group}/${version}/${kind}.js`;
  const schema = readFileSync(model, "utf8").match(/from"\.\.\/\.\.\/(_schemas\/[^"]+)"/)[1];
  return (await import(`${folder}/${schema}`)).validate;
}

const problems = [];
for (const { where, object } of JSON.parse(readFileSync(0, "utf8"))) {
  const validate = await validator(object);
  if (!validate) {
    problems.push({ where, problem: null });
    continue;
  }
  const seen = new Set();
  if (!validate(watched(object, "", seen))) {
    for (const { instancePath, keyword, params } of validate.errors) {
      problems.push({ where, problem: `${instancePath || "/"}: ${keyword} ${JSON.stringify(params)}` });
    }
    continue;
  }
  for (const path of paths(object)) {
    // `apiVersion` and `kind` chose the schema; what is in metadata is Kubernetes' own.
    if (!seen.has(path) && !path.startsWith("/metadata/")) problems.push({ where, problem: `${path}: no such field` });
  }
}
console.log(JSON.stringify(problems));
