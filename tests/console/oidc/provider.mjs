// An OpenID Connect provider with one client. Its first argument names a JSON file: the client, the people, the port.
import { readFileSync } from "node:fs";
import { createServer } from "node:http";
import { pathToFileURL } from "node:url";
import { join } from "node:path";

const { modules, port, client, people } = JSON.parse(readFileSync(process.argv[2]));
const { default: Provider } = await import(pathToFileURL(join(modules, "oidc-provider", "lib", "index.js")));
const provider = new Provider(`http://127.0.0.1:${port}`, {
  clients: [client],
  claims: { openid: ["sub"], profile: ["preferred_username", "groups"], email: ["email", "email_verified"] },
  pkce: { required: () => true },
  features: { devInteractions: { enabled: true } },
  // The page of its own takes any name and any password.
  findAccount: async (_context, id) => ({ accountId: id, claims: async () => ({ sub: id, ...people[id] }) }),
});
createServer(provider.callback()).listen(port, "127.0.0.1");
