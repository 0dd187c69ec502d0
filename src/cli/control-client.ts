import { RestStore } from '../store/rest/index.ts'
import type { Connection } from './connection.ts'
import type { ControlClient } from './world.ts'

/** Connects to control over its REST API; nothing is sent before the first request. */
export function connectToControl(connection: Connection): Promise<ControlClient> {
  const store = new RestStore(connection)
  return Promise.resolve({
    store,
    getJson: <T>(path: string, headers?: Record<string, string>) => store.getJson<T>(path, headers),
    request: <T>(method: 'POST' | 'DELETE', path: string, body?: object, headers?: Record<string, string>) =>
      store.request<T>(method, path, body, headers),
    close: () => store.close(),
  })
}
