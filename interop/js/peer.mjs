// js-libp2p beside our host, and the other side of tests/interop.
//   node peer.mjs serve | mdns | client ADDRESS | crowd ADDRESS COUNT | ping ADDRESS | gossip ADDRESS|- TOPIC
import { createInterface } from 'node:readline'
import { randomBytes } from 'node:crypto'
import { createLibp2p } from 'libp2p'
import { tcp } from '@libp2p/tcp'
import { noise } from '@chainsafe/libp2p-noise'
import { yamux } from '@chainsafe/libp2p-yamux'
import { identify, identifyPush } from '@libp2p/identify'
import { ping } from '@libp2p/ping'
import { gossipsub } from '@libp2p/gossipsub'
import { mdns } from '@libp2p/mdns'
import { multiaddr } from '@multiformats/multiaddr'

const SINK = '/bench/sink/1.0.0'
const ECHO = '/bench/echo/1.0.0'
const BULK = 100 * 1024 * 1024
const CHUNK = 256 * 1024
const CONNECTS = 20
const PINGS = 20
const ECHO_BYTES = 20_000_000
const STREAMS = 300
const TRIPS = 3000
const MESSAGES = 60000
const SMALL = new Uint8Array(100)
const LIMITS = { maxInboundStreams: 100000, maxOutboundStreams: 100000 }

const say = (words) => process.stdout.write(JSON.stringify(words) + '\n')
const now = () => performance.now()

function make (extra = {}) {
  return createLibp2p({
    addresses: { listen: ['/ip4/127.0.0.1/tcp/0'] },
    transports: [tcp()],
    connectionEncrypters: [noise()],
    streamMuxers: [yamux()],
    services: { identify: identify(), identifyPush: identifyPush(), ping: ping() },
    connectionManager: { inboundConnectionThreshold: Infinity, maxConnections: 10000 },
    ...extra
  })
}

class Pipe {
  constructor (stream) {
    this.stream = stream
    this.parts = stream[Symbol.asyncIterator]()
  }

  async read () {
    const { done, value } = await this.parts.next()
    return done ? null : value.subarray()
  }

  async write (data) {
    if (!this.stream.send(data)) await this.stream.onDrain()
  }

  end () { return this.stream.close() }
  close () { return this.stream.close() }
}

async function sink (stream) {
  let count = 0
  for await (const part of stream) count += part.byteLength
  stream.send(new TextEncoder().encode(String(count)))
  await stream.close()
}

async function echo (stream) {
  for await (const part of stream) {
    if (!stream.send(part)) await stream.onDrain()
  }
  await stream.close()
}

async function serve (extra) {
  const node = await make(extra)
  await node.handle(SINK, sink, LIMITS)
  await node.handle(ECHO, echo, LIMITS)
  node.addEventListener('peer:discovery', (event) => say({ discovered: event.detail.id.toString() }))
  node.addEventListener('peer:identify', (event) => say({
    identified: event.detail.peerId.toString(),
    agent: event.detail.agentVersion,
    protocols: event.detail.protocols
  }))
  say({ address: node.getMultiaddrs()[0].toString() })
  for await (const _ of createInterface({ input: process.stdin })) {
    say({ rss: process.memoryUsage().rss, connections: node.getConnections().length })
  }
  await node.stop()
}

const percentiles = (times) => {
  const ordered = [...times].sort((a, b) => a - b)
  return [ordered[ordered.length >> 1], ordered[Math.floor(ordered.length * 0.99)]]
}

async function counted (pipe) {
  let text = ''
  for (let part; (part = await pipe.read()) != null;) text += new TextDecoder().decode(part)
  return Number(text)
}

async function client (address) {
  const node = await make()
  const target = multiaddr(address)
  let link
  const connect = async () => { link = await node.dial(target) }
  const open = async (protocol) => new Pipe(await link.newStream(protocol, LIMITS))
  const upload = async (size) => {
    const block = new Uint8Array(randomBytes(CHUNK))
    const pipe = await open(SINK)
    const start = now()
    for (let sent = 0; sent < size; sent += CHUNK) await pipe.write(block)
    await pipe.end()
    const got = await counted(pipe)
    if (got !== size) throw new Error(`the receiver got ${got} of ${size} bytes`)
    return (now() - start) / 1e3
  }
  const figures = {}
  let start = now()
  await connect()
  figures.first_connect_ms = now() - start
  await upload(4 * 1024 * 1024)
  figures.upload_MB_per_s = BULK / 1e6 / await upload(BULK)
  let times = []
  for (let n = 0; n < STREAMS; n++) {
    start = now()
    const pipe = await open(ECHO)
    await pipe.write(new Uint8Array(1))
    await pipe.read()
    times.push(now() - start)
    await pipe.close()
  }
  ;[figures.new_stream_p50_ms, figures.new_stream_p99_ms] = percentiles(times)
  times = []
  let pipe = await open(ECHO)
  for (let n = 0; n < TRIPS + 200; n++) {
    start = now()
    await pipe.write(SMALL)
    for (let got = 0; got < SMALL.length;) got += (await pipe.read()).byteLength
    if (n >= 200) times.push(now() - start)
  }
  await pipe.close()
  ;[figures.round_trip_p50_ms, figures.round_trip_p99_ms] = percentiles(times)
  pipe = await open(SINK)
  start = now()
  for (let n = 0; n < MESSAGES; n++) await pipe.write(SMALL)
  await pipe.end()
  const got = await counted(pipe)
  if (got !== MESSAGES * SMALL.length) throw new Error(`the receiver got ${got} bytes`)
  figures.messages_per_s = MESSAGES / ((now() - start) / 1e3)
  times = []
  for (let n = 0; n < CONNECTS; n++) {
    await link.close()
    start = now()
    await connect()
    times.push(now() - start)
  }
  figures.warm_connect_p50_ms = percentiles(times)[0]
  say(figures)
  await node.stop()
}

async function crowd (address, count) {
  const nodes = []
  for (let n = 0; n < count; n++) {
    const node = await make()
    await node.dial(multiaddr(address))
    nodes.push(node)
  }
  say({ connected: count })
  for await (const _ of createInterface({ input: process.stdin })) break
  process.exit(0)
}

// Sends bytes and compares what comes back, both at once; the seconds it took.
async function echoed (pipe, sent) {
  const start = now()
  let got = 0
  let same = true
  const reading = (async () => {
    while (got < sent.byteLength) {
      const part = await pipe.read()
      if (part == null) break
      same = same && Buffer.compare(part, sent.subarray(got, got + part.byteLength)) === 0
      got += part.byteLength
    }
  })()
  for (let at = 0; at < sent.byteLength; at += CHUNK) await pipe.write(sent.subarray(at, at + CHUNK))
  await reading
  return { bulk_bytes: got, bulk_same: same, bulk_seconds: (now() - start) / 1e3 }
}

// Everything tests/interop asks of a dialler: identify, ping, an echo of our bytes, and of 20 MB.
async function pingPeer (address) {
  const node = await make()
  const target = multiaddr(address)
  const identified = new Promise((resolve) => node.addEventListener('peer:identify', (event) => resolve(event.detail)))
  const link = await node.dial(target)
  const times = []
  for (let n = 0; n < PINGS; n++) {
    const start = now()
    await node.services.ping.ping(target)
    times.push(now() - start)
  }
  const told = await identified
  const pipe = new Pipe(await link.newStream(ECHO))
  await pipe.write(new TextEncoder().encode('from js'))
  const small = new TextDecoder().decode(await pipe.read())
  await pipe.close()
  const large = new Pipe(await link.newStream(ECHO))
  const bulk = await echoed(large, new Uint8Array(randomBytes(ECHO_BYTES)))
  await large.close()
  say({ pings: PINGS, ping_ms: percentiles(times)[0], agent: told.agentVersion, protocols: told.protocols, echoed: small, ...bulk })
  await node.stop()
}

// Subscribes, publishes a line for every line it is told, and says what it hears.
async function gossip (address, topic) {
  const node = await createLibp2p({
    addresses: { listen: ['/ip4/127.0.0.1/tcp/0'] },
    transports: [tcp()],
    connectionEncrypters: [noise()],
    streamMuxers: [yamux()],
    services: { identify: identify(), pubsub: gossipsub({ floodPublish: false }) }
  })
  const pubsub = node.services.pubsub
  pubsub.addEventListener('message', (event) => {
    const message = event.detail.msg ?? event.detail
    if (message.topic === topic) say({ heard: new TextDecoder().decode(message.data), from: message.from?.toString() })
  })
  pubsub.subscribe(topic)
  if (address !== '-') await node.dial(multiaddr(address))
  say({ id: node.peerId.toString(), address: node.getMultiaddrs()[0].toString() })
  for await (const line of createInterface({ input: process.stdin })) {
    const { recipients } = await pubsub.publish(topic, new TextEncoder().encode(line))
    say({ published: recipients.length })
  }
  await node.stop()
}

const [what, address, count] = process.argv.slice(2)
if (what === 'serve') await serve()
else if (what === 'mdns') await serve({ addresses: { listen: ['/ip4/0.0.0.0/tcp/0'] }, peerDiscovery: [mdns({ interval: 1000 })] })
else if (what === 'client') await client(address)
else if (what === 'crowd') await crowd(address, Number(count))
else if (what === 'ping') await pingPeer(address)
else if (what === 'gossip') await gossip(address, count)
else throw new Error('serve | mdns | client ADDRESS | crowd ADDRESS COUNT | ping ADDRESS | gossip ADDRESS|- TOPIC')
process.exit(0)
