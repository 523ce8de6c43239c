// SPDX-License-Identifier: Apache-2.0
// A small Sparkplug plant for tests: brokers (aedes) behind a proxy that writes down every packet of the edge node, a host
// (mqtt.js), and the edge node itself as a process that is told what to do line by line. What the node says is decoded by
// sparkplug-payload, which shares no code with it.
import { spawn } from 'node:child_process'
import { createRequire } from 'node:module'
import net from 'node:net'
import path from 'node:path'
import { pathToFileURL } from 'node:url'

const modules = path.resolve(process.env.NODE_MODULES)
const require = createRequire(path.join(modules, 'x.js'))
const { Aedes } = await import(pathToFileURL(path.join(modules, 'aedes', 'aedes.js')))
const mqtt = require('mqtt')
const parser = require('mqtt-packet')
const payloads = require('sparkplug-payload').get('spBv1.0')
const { Payload } = require('sparkplug-payload/lib/sparkplugPayloadProto').org.eclipse.tahu.protobuf

export const encode = (payload) => payloads.encodePayload(payload)
export const plain = (v) => (v !== null && typeof v === 'object' && 'toNumber' in v ? v.toNumber() : v)

// A payload with what was really on the wire: members that were not there are undefined.
export function decode (bytes) {
  const raw = Payload.decode(bytes)
  const has = (o, k) => Object.prototype.hasOwnProperty.call(o, k)
  const get = (o, k) => (has(o, k) ? plain(o[k]) : undefined)
  const kinds = ['intValue', 'longValue', 'floatValue', 'doubleValue', 'booleanValue', 'stringValue']
  return {
    timestamp: get(raw, 'timestamp'),
    seq: get(raw, 'seq'),
    readable: payloads.decodePayload(bytes), // as applications get it
    metrics: raw.metrics.map((m) => ({
      name: get(m, 'name'),
      alias: get(m, 'alias'),
      timestamp: get(m, 'timestamp'),
      datatype: get(m, 'datatype'),
      historical: get(m, 'isHistorical') === true,
      null: get(m, 'isNull') === true,
      kinds: kinds.filter((k) => has(m, k)),
      value: kinds.filter((k) => has(m, k)).map((k) => plain(m[k]))[0],
      properties: has(m, 'properties') && m.properties
        ? { keys: m.properties.keys, values: m.properties.values.map((v) => ({ type: get(v, 'type'), value: v.stringValue })) }
        : undefined
    }))
  }
}

export async function until (what, condition, seconds = 30) {
  const end = Date.now() + seconds * 1000
  for (;;) {
    const found = condition()
    if (found) return found
    if (Date.now() > end) throw new Error(`gave up after ${seconds} s waiting for ${what}`)
    await new Promise((resolve) => setTimeout(resolve, 5))
  }
}

// Sessions of the edge node, each with its packets in order; shared by all servers.
export class Record {
  sessions = []
  order = 0

  messages (filter = () => true) {
    return this.sessions.flatMap((s) => s.messages).filter(filter).sort((a, b) => a.order - b.order)
  }
}

function describe (packet, order, session) {
  const [, group, type, node, device] = packet.topic.split('/')
  const m = { order, session, topic: packet.topic, group, type, node, device, qos: packet.qos, retain: packet.retain, bytes: packet.payload, at: Date.now() }
  if (group !== 'STATE' && !type.endsWith('CMD')) m.payload = decode(packet.payload)
  return m
}

export class Server {
  constructor (name, record) {
    Object.assign(this, { name, record, sockets: new Set(), open: true })
  }

  async start () {
    this.broker = await Aedes.createBroker({ maxClientsIdLength: 64 })
    this.real = net.createServer(this.broker.handle)
    await new Promise((resolve) => this.real.listen(0, '127.0.0.1', resolve))
    this.front = net.createServer((socket) => this.#proxy(socket))
    await new Promise((resolve) => this.front.listen(0, '127.0.0.1', resolve))
    this.port = this.front.address().port
    this.host = mqtt.connect({ host: '127.0.0.1', port: this.real.address().port, clientId: `host-${this.name}`, clean: true })
    this.heard = []
    this.host.on('message', (topic, payload, packet) => this.heard.push(describe(packet, this.record.order++, null)))
    await this.host.subscribeAsync('spBv1.0/#', { qos: 1 })
    return this
  }

  #proxy (socket) {
    if (!this.open) return socket.destroy()
    const session = { server: this.name, subscribes: [], messages: [], events: [], begun: this.record.order++ }
    const onwards = net.connect(this.real.address().port, '127.0.0.1')
    const watch = (from, to, note) => {
      const p = parser.parser({ protocolVersion: 4 })
      p.on('packet', note)
      from.on('data', (data) => { p.parse(data); to.write(data) })
      from.on('error', () => {})
      from.on('close', () => { session.ended ??= this.record.order++; to.destroy() })
    }
    watch(socket, onwards, (packet) => this.#out(session, packet))
    watch(onwards, socket, (packet) => { if (packet.cmd === 'suback') session.suback = this.record.order++ })
    this.sockets.add(socket)
    socket.on('close', () => this.sockets.delete(socket))
  }

  #out (session, packet) {
    const order = this.record.order++
    if (packet.cmd === 'connect') {
      session.connect = packet
      this.record.sessions.push(session)
    } else if (packet.cmd === 'subscribe') {
      session.subscribes.push(...packet.subscriptions.map((s) => ({ ...s, order })))
    } else if (packet.cmd === 'publish') {
      session.messages.push(describe(packet, order, session))
    } else if (packet.cmd === 'disconnect') {
      session.disconnect = order
    }
  }

  // What the host has received, by type and, where given, device.
  got (type, device) {
    return this.heard.filter((m) => m.type === type && (device === undefined || m.device === device))
  }

  cut () { for (const s of this.sockets) s.destroy() }

  state (host, online, timestamp) {
    return this.host.publishAsync(`spBv1.0/STATE/${host}`, JSON.stringify({ online, timestamp }), { qos: 1, retain: true })
  }

  command (topic, metrics) {
    return this.host.publishAsync(topic, metrics instanceof Buffer ? metrics : Buffer.from(encode({ timestamp: Date.now(), metrics })), { qos: 0 })
  }

  async stop () {
    await this.host.endAsync(true)
    this.front.close()
    this.real.close()
    this.cut()
    await new Promise((resolve) => this.broker.close(resolve))
  }
}

export class Node {
  constructor (program, options) {
    this.process = spawn(program, options, { stdio: ['pipe', 'pipe', 'pipe'] })
    this.log = ''
    this.answers = []
    this.process.stderr.on('data', (d) => { this.log += d })
    let rest = ''
    this.process.stdout.on('data', (d) => {
      const lines = (rest + d).split('\n')
      rest = lines.pop()
      this.answers.push(...lines.map((l) => JSON.parse(l)))
    })
    this.ended = new Promise((resolve) => this.process.on('exit', (code) => { this.code = code; resolve(code) }))
  }

  say (...lines) { this.process.stdin.write(lines.join('\n') + '\n') }

  async stats () {
    const before = this.answers.length
    this.say('stats')
    await until('the node to answer', () => this.answers.length > before)
    return this.answers[before]
  }

  async stop () { this.say('stop'); return this.ended }
  async kill () { this.process.kill('SIGKILL'); return this.ended }
}
