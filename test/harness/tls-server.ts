/** A TLS server that upper-cases what it is sent, with a certificate of its own for localhost, valid until 2126. */
import { once } from "node:events";
import type { AddressInfo } from "node:net";
import { createServer } from "node:tls";

/** Made for these tests; nothing else trusts it. */
const KEY = `-----BEGIN PRIVATE KEY-----
MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQg8ob6/yG+EC6Ns1Wd
OKNmGdVyoQm+JPan+vaBzKwcAguhRANCAAQFwYC8jwl3YI+QXgJHzfMvLx10VcZL
VFM6eqV+zj0894cG1sn+iQCJhiiedDYetSBCgwJxrqEEaPU8poGcZ/EU
-----END PRIVATE KEY-----
`;
const CERTIFICATE = `-----BEGIN CERTIFICATE-----
MIIBmjCCAUGgAwIBAgIUMX8R9sokrelWPAOgW1rmBR1g+mwwCgYIKoZIzj0EAwIw
FDESMBAGA1UEAwwJbG9jYWxob3N0MCAXDTI2MTEyMDEyNTE1MVoYDzIxMjYxMDI3
MTI1MTUxWjAUMRIwEAYDVQQDDAlsb2NhbGhvc3QwWTATBgcqhkjOPQIBBggqhkjO
PQMBBwNCAAQFwYC8jwl3YI+QXgJHzfMvLx10VcZLVFM6eqV+zj0894cG1sn+iQCJ
hiiedDYetSBCgwJxrqEEaPU8poGcZ/EUo28wbTAdBgNVHQ4EFgQUUAE3oAjlTn7o
BGJT4OnS6M+KLRswHwYDVR0jBBgwFoAUUAE3oAjlTn7oBGJT4OnS6M+KLRswDwYD
VR0TAQH/BAUwAwEB/zAaBgNVHREEEzARgglsb2NhbGhvc3SHBH8AAAEwCgYIKoZI
zj0EAwIDRwAwRAIgXYg8FQQuCRm0eMvVMusJWePdPJXNNWpg2kWfIOeKyZgCIBcp
uMZdzM9a0iF4u01g1KrejRBlqiOyYk4Ktr/L43jy
-----END CERTIFICATE-----
`;

export async function startTlsServer(): Promise<{ port: number } & AsyncDisposable> {
  const server = createServer({ key: KEY, cert: CERTIFICATE }, (socket) => {
    socket.on("error", () => {});
    socket.on("data", (data) => socket.end(data.toString().toUpperCase()));
  });
  server.on("tlsClientError", () => {});
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  return {
    port: (server.address() as AddressInfo).port,
    async [Symbol.asyncDispose]() {
      server.close();
      await once(server, "close");
    },
  };
}
