import { readFileSync } from 'node:fs'
import type { RequestListener } from 'node:http'
import { createServer, type Server } from 'node:https'
import type { AddressInfo } from 'node:net'

/** An HTTPS server in the place of an agent; `address` is what the agent would put into its node's status. */
export interface AgentServer {
  address: string
  close(): void
}

/** Serves `handle` with a certificate on a free port of 127.0.0.1. */
export async function startAgentServer(
  certificateFile: string,
  keyFile: string,
  handle: RequestListener,
): Promise<AgentServer> {
  const server: Server = createServer({ cert: readFileSync(certificateFile), key: readFileSync(keyFile) }, handle)
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  const { port } = server.address() as AddressInfo
  return {
    address: `127.0.0.1:${port}`,
    close: () => {
      server.closeAllConnections()
      server.close()
    },
  }
}
