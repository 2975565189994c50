// A certified OpenID provider (oidc-provider) that logs anybody in who names themselves in login_hint's place: node oidc.mjs
// NODE_MODULES PEOPLE REDIRECT_ORIGIN...; PEOPLE is a JSON file {"accounts": {id: claims}, "login": id}. Prints the port it listens on.
// POST /$login {"account": id, "acr": "eidas1"} says who logs in next. POST /$twist {"claims": {...}, "header": {...}, "none": true,
// "key": "other", "access_token": "..."} falsifies every ID token from then on, signed with the provider's own key unless told else;
// a claim of null is left out. None of it is part of OpenID Connect.
import { createServer } from 'node:http';
import { generateKeyPairSync, randomUUID } from 'node:crypto';
import { createRequire } from 'node:module';
import { readFileSync } from 'node:fs';
import path from 'node:path';
import { pathToFileURL } from 'node:url';

const [modules, people, ...origins] = process.argv.slice(2);
const load = async (name) => import(pathToFileURL(createRequire(path.join(modules, 'x.cjs')).resolve(name)));
const { default: Provider } = await load('oidc-provider');
const { SignJWT, decodeJwt, decodeProtectedHeader, base64url } = await load('jose');
const told = JSON.parse(readFileSync(people, 'utf8'));
let who = { account: told.login, acr: 'eidas1' };
let twist = null;

const pair = () => generateKeyPairSync('rsa', { modulusLength: 2048 }).privateKey;
const key = pair();
const other = pair();
const jwks = { keys: [{ ...key.export({ format: 'jwk' }), kid: 'key-1', use: 'sig', alg: 'RS256' }] };
const names = [...new Set(Object.values(told.accounts).flatMap((claims) => Object.keys(claims)))];

const server = createServer();
await new Promise((ready) => server.listen(0, '127.0.0.1', ready));
const issuer = `http://127.0.0.1:${server.address().port}`;
const client = (id, more) => ({
  client_id: id, client_secret: 'a-secret-of-the-test', grant_types: ['authorization_code'], response_types: ['code'],
  redirect_uris: origins.map((one) => `${one}/review/callback`), post_logout_redirect_uris: origins.map((one) => `${one}/review/logout`),
  ...more,
});
const provider = new Provider(issuer, {
  clients: [client('diaphane'), client('diaphane-signed', { userinfo_signed_response_alg: 'RS256' })],
  jwks,
  cookies: { keys: [randomUUID()] },
  acrValues: ['eidas1'],
  claims: { openid: ['sub', 'acr', ...names] },
  conformIdTokenClaims: true,
  pkce: { required: () => true },
  features: { devInteractions: { enabled: false }, jwtUserinfo: { enabled: true } },
  interactions: { url: (_, interaction) => `/interaction/${interaction.uid}` },
  findAccount: (_, id) => ({ accountId: id, claims: () => ({ sub: id, ...told.accounts[id] }) }),
  ttl: { AccessToken: 300, AuthorizationCode: 60, IdToken: 300, Grant: 300, Interaction: 300, Session: 300 },
  renderError: (ctx, out) => { ctx.body = JSON.stringify(out); },
});

async function interact(request, response) {
  const details = await provider.interactionDetails(request, response);
  const grant = new provider.Grant({ accountId: who.account, clientId: details.params.client_id });
  grant.addOIDCScope(details.params.scope);
  const login = { accountId: who.account, acr: who.acr, remember: false };
  await provider.interactionFinished(request, response, { login, consent: { grantId: await grant.save() } });
}

async function falsified(body) {
  const header = { ...decodeProtectedHeader(body.id_token), ...twist.header };
  const claims = Object.entries({ ...decodeJwt(body.id_token), ...twist.claims }).filter(([, value]) => value !== null);
  if (twist.none) {
    const part = (one) => base64url.encode(JSON.stringify(one));
    return { ...body, id_token: `${part({ alg: 'none', typ: 'JWT', kid: 'key-1' })}.${part(Object.fromEntries(claims))}.` };
  }
  const signed = await new SignJWT(Object.fromEntries(claims)).setProtectedHeader(header).sign(twist.key === 'other' ? other : key);
  return { ...body, id_token: signed, ...(twist.access_token ? { access_token: twist.access_token } : {}) };
}

function twisting(request, response) {
  const end = response.end.bind(response);
  response.end = async (chunk, ...rest) => {
    const body = JSON.parse(chunk.toString());
    if (!body.id_token) return end(chunk, ...rest);
    const content = Buffer.from(JSON.stringify(await falsified(body)));
    response.setHeader('content-length', content.length);
    return end(content);
  };
}

const read = async (request) => { let text = ''; for await (const piece of request) text += piece; return JSON.parse(text || 'null'); };
const callback = provider.callback();
server.on('request', async (request, response) => {
  if (request.url === '/$login') { who = { ...who, ...await read(request) }; return response.end('{}'); }
  if (request.url === '/$twist') { twist = await read(request); return response.end('{}'); }
  if (request.url.startsWith('/interaction/')) return interact(request, response);
  if (twist && request.url === '/token') twisting(request, response);
  return callback(request, response);
});
console.log(server.address().port);
