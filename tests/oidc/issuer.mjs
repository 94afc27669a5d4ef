// An OIDC issuer that is not Remit's: prints its address, and serves until its input ends.
import { OAuth2Server } from 'oauth2-mock-server';

const server = new OAuth2Server();
await server.issuer.keys.generate('RS256');
server.service.on('beforeTokenSigning', (token, request) => {
  const asked = request.body ?? {};
  token.header.typ = 'at+jwt';
  Object.assign(token.payload, { aud: 'remit', client_id: asked.client_id });
  if (asked.roles) token.payload.realm_access = { roles: asked.roles.split(' ') };
});
await server.start(0, 'localhost');
console.log(server.issuer.url);
process.stdin.resume();
process.stdin.on('end', () => server.stop());
