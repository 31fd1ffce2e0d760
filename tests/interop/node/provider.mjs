// A provider of tokens: oidc-provider on a free port of loopback, with the certificate and key that are its arguments. Standard output: its
// issuer. It ends when its standard input does.
// A client's id is the name of the account its tokens are for; its secret is the id. A resource urn:AUDIENCE:jwt:ALG or urn:AUDIENCE:opaque
// says what kind of token there is, one that ends in :short that it lasts a second.
import { generateKeyPairSync } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { createServer } from 'node:https';
import Provider from 'oidc-provider';

const kinds = {
    RS256: ['rsa', { modulusLength: 2048 }],
    PS256: ['rsa', { modulusLength: 2048 }],
    ES256: ['ec', { namedCurve: 'P-256' }],
    EdDSA: ['ed25519', {}],
};
const keys = Object.entries(kinds).map(([alg, [type, options]]) => {
    const key = generateKeyPairSync(type, options).privateKey.export({ format: 'jwk' });
    return { ...key, alg, kid: alg, use: 'sig' };
});

function client(name, grants) {
    return { client_id: name, client_secret: name, grant_types: grants, redirect_uris: [], response_types: [] };
}

function resource(urn) {
    const [audience, format, alg] = new URL(urn).pathname.split(':');
    const jwt = { sign: { alg } };
    return {
        audience,
        scope: 'mail other',
        accessTokenFormat: format,
        accessTokenTTL: urn.endsWith(':short') ? 1 : 600,
        ...(format === 'jwt' && { jwt }),
    };
}

const [cert, key] = process.argv.slice(2).map((path) => readFileSync(path));
const server = createServer({ cert, key });
server.listen(0, '127.0.0.1', () => {
    const issuer = `https://localhost:${server.address().port}`;
    const provider = new Provider(issuer, {
        jwks: { keys },
        enabledJWA: { idTokenSigningAlgValues: Object.keys(kinds) },
        scopes: ['mail', 'other'],
        clients: [...['u1', 'u2', 'nobody'].map((name) => client(name, ['client_credentials'])), client('mail server', [])],
        features: {
            clientCredentials: { enabled: true },
            devInteractions: { enabled: false },
            introspection: { enabled: true, allowedPolicy: (_, who) => who.clientId === 'mail server' },
            resourceIndicators: { enabled: true, getResourceServerInfo: (_, urn) => resource(urn) },
            revocation: { enabled: true },
        },
        extraTokenClaims: (_, token) => ({ email: `${token.clientId}@localhost` }),
    });
    server.on('request', provider.callback());
    console.log(issuer);
});
process.stdin.resume().on('end', () => process.exit(0));
