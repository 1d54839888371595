// js-libp2p's side of benchmarks/gossip.py: ten hosts in one process, the same load, figures as JSON.
//   node gossip_load.mjs '{"edges": [[0, 1], ...], "hosts": 10, "rate": 20, "seconds": 8, "drain_s": 10, "bytes": 120}'
import { createLibp2p } from 'libp2p'
import { tcp } from '@libp2p/tcp'
import { noise } from '@chainsafe/libp2p-noise'
import { yamux } from '@chainsafe/libp2p-yamux'
import { identify } from '@libp2p/identify'
import { ping } from '@libp2p/ping'
import { gossipsub } from '@libp2p/gossipsub'

const TOPIC = '/bench'
const PROBE_EVERY_S = 0.5
const { edges, hosts: count, rate, seconds, drain_s: drain, bytes } = JSON.parse(process.argv[2])
const now = () => performance.now() / 1e3
const sleepUntil = (at) => new Promise((resolve) => setTimeout(resolve, Math.max(0, (at - now()) * 1e3)))
const cpu = () => { const used = process.cpuUsage(); return (used.user + used.system) / 1e6 }

const hosts = []
for (let n = 0; n < count; n++) {
  hosts.push(await createLibp2p({
    addresses: { listen: ['/ip4/127.0.0.1/tcp/0'] },
    transports: [tcp()],
    connectionEncrypters: [noise()],
    streamMuxers: [yamux()],
    connectionManager: { inboundConnectionThreshold: Infinity, maxConnections: 1000 },
    services: {
      identify: identify(),
      ping: ping(),
      pubsub: gossipsub({ D: 6, Dlo: 5, Dhi: 12, floodPublish: false, allowPublishToZeroTopicPeers: true })
    }
  }))
}

const planned = new Map()
const called = new Map()
const fromPlan = []
const fromCall = []
const reached = new Map()
for (const host of hosts) {
  const own = host.peerId.toString()
  host.services.pubsub.addEventListener('message', (event) => {
    const message = event.detail.msg ?? event.detail
    if (message.topic !== TOPIC || message.from.toString() === own) return
    const n = new DataView(message.data.buffer, message.data.byteOffset).getUint32(0)
    if (planned.has(n)) {
      fromPlan.push(now() - planned.get(n))
      fromCall.push(now() - called.get(n))
    } else if (reached.has(n)) reached.get(n).push(now())
  })
  host.services.pubsub.subscribe(TOPIC)
}
for (const [one, other] of edges) await hosts[one].dial(hosts[other].getMultiaddrs())
await sleepUntil(now() + 4)

let failed = 0
const send = async (host, n) => {
  const data = new Uint8Array(bytes)
  new DataView(data.buffer).setUint32(0, n)
  try { await host.services.pubsub.publish(TOPIC, data) } catch { failed++ }
}
const links = () => hosts.reduce((sum, host) => sum + host.getConnections().length, 0)
const linksBefore = links()
const cpuBefore = cpu()
const start = now()
const sending = []
const total = rate * seconds
await Promise.all(hosts.map(async (host, index) => {
  let n = index
  while (n < total) {
    await sleepUntil(start + n / rate)
    for (; n < total && start + n / rate <= now(); n += count) {
      planned.set(n, start + n / rate)
      called.set(n, now())
      sending.push(send(host, n))
    }
  }
}))
await Promise.race([Promise.all(sending), sleepUntil(start + seconds + 1)])
const stopped = now()
const inTime = fromPlan.length
const cpuUsed = cpu() - cpuBefore
const wanted = total * (count - 1)

// Recovered when a probe reaches everybody within half a second.
let recovery = null
for (let k = 0; now() < stopped + drain; k++) {
  const n = 2 ** 31 + k
  const at = now()
  reached.set(n, [])
  await send(hosts[k % count], n)
  await sleepUntil(at + PROBE_EVERY_S)
  const times = reached.get(n)
  if (recovery === null && times.length === count - 1 && Math.max(...times) - at <= PROBE_EVERY_S) recovery = at - stopped
  if (recovery !== null && fromPlan.length >= wanted) break
}
const at = (times, share) => times.length === 0 ? null : 1e3 * times[Math.min(times.length - 1, Math.floor(times.length * share))]
const sorted = (times) => times.sort((a, b) => a - b)
sorted(fromPlan)
sorted(fromCall)
console.log(JSON.stringify({
  delivered_percent: 100 * fromPlan.length / wanted,
  delivered_in_time_percent: 100 * inTime / wanted,
  publishing_s: stopped - start,
  p50_ms: at(fromPlan, 0.5),
  p95_ms: at(fromPlan, 0.95),
  p99_ms: at(fromPlan, 0.99),
  p99_from_call_ms: at(fromCall, 0.99),
  cpu_percent: 100 * cpuUsed / (stopped - start),
  cpu_ms_per_delivery: 1e3 * (cpu() - cpuBefore) / Math.max(1, fromPlan.length),
  connections_lost: (linksBefore - links()) / 2,
  refused_percent: 100 * failed / total,
  recovery_s: recovery,
  drops: {}
}))
process.exit(0)
