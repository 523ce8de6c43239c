// SPDX-License-Identifier: Apache-2.0
// The testable assertions of Eclipse Sparkplug 3.0 (ids as in the specification, behind tck-id-): for each a check of what
// was on the wire, or the reason why it does not bear on this edge node. A check returns true or throws; over nothing, no
// check holds.

// ---- what there is to look at ----
const runs = (w) => [w.one, w.two]
const sessions = (w) => runs(w).flatMap((r) => r.record.sessions)
const all = (w) => runs(w).flatMap((r) => r.record.messages())
const of = (w, ...types) => all(w).filter((m) => types.includes(m.type))
const CARRYING = ['NBIRTH', 'NDATA', 'DBIRTH', 'DDATA', 'DDEATH'] // all but NDEATH
const BIRTHS = ['NBIRTH', 'DBIRTH']
const DATA = ['NDATA', 'DDATA']
const DEVICE = ['DBIRTH', 'DDATA', 'DDEATH']
const willOf = (s) => s.connect.will

function fail (what, thing) { throw new Error(`${what}: ${thing}`) }
function every (list, holds, name = (x) => x.topic ?? JSON.stringify(x)) {
  if (list.length === 0) fail('nothing to look at', 'the run did not get there')
  for (const x of list) if (!holds(x)) fail('not so for', name(x))
  return true
}
function some (list, holds) {
  return list.some(holds) || fail('there is none', `among ${list.length}`)
}
const both = (...results) => results.every((r) => r === true)
const metric = (m, name) => m.payload.metrics.find((x) => x.name === name)
const everyMetric = (messages, holds) => every(messages.flatMap((m) => m.payload.metrics.map((x) => ({ m, x }))),
  ({ m, x }) => holds(x, m), ({ m, x }) => `${m.topic} ${JSON.stringify(x)}`)
const shape = (m, ...types) => m.topic === `spBv1.0/plant/${m.type}/gw1` + (DEVICE.includes(m.type) ? `/${m.device}` : '') && types.includes(m.type)
const shaped = (w, type) => every(of(w, type), (m) => shape(m, type))
const quiet = (w, type) => every(of(w, type), (m) => m.qos === 0 && m.retain === false)
const qos = (w, type, want) => every(of(w, type), (m) => m.qos === want)
const unretained = (w, type) => every(of(w, type), (m) => m.retain === false)
const timed = (w, type) => every(of(w, type), (m) => Math.abs(m.payload.timestamp - m.at) < 60000)
const seqThere = (w, ...types) => every(of(w, ...types), (m) => Number.isInteger(m.payload.seq) && m.payload.seq >= 0 && m.payload.seq <= 255)
const noSeq = (w) => both(every(of(w, 'NDEATH'), (m) => m.payload.seq === undefined),
  every(sessions(w), (s) => payloadOfWill(s, w).seq === undefined, (s) => s.server))
const parsed = new Map()
function payloadOfWill (s, w) { // as the host got it, or as the session registered it
  if (!parsed.has(s)) parsed.set(s, w.decode(s.connect.will.payload))
  return parsed.get(s)
}
const bdSeqOf = (payload) => {
  const x = payload.metrics.find((m) => m.name === 'bdSeq')
  return x && x.datatype === 4 && x.kinds.includes('longValue') ? x.value : undefined
}
// Every message of a session that carries a sequence: 0 with the NBIRTH, then one more each, 0 behind 255.
function counted (w, ...types) {
  let seen = 0
  for (const s of sessions(w)) {
    let want
    for (const m of s.messages.filter((m) => m.type !== 'NDEATH')) {
      want = m.type === 'NBIRTH' ? 0 : want
      if (types.includes(m.type)) {
        seen++
        if (m.payload.seq !== want) fail(`seq is ${m.payload.seq}, expected ${want}`, m.topic)
      }
      want = (m.payload.seq + 1) % 256
    }
  }
  return seen > 0 || fail('nothing to look at', types)
}
const wraps = (w) => some(sessions(w), (s) => s.messages.some((m, i) => i > 0 && m.payload.seq === 0 && s.messages[i - 1].payload.seq === 255))
// Births of a burst: NBIRTH and the DBIRTHs right behind it.
const bursts = (w) => sessions(w).flatMap((s) => s.messages.map((m, i) => ({ s, m, i })).filter(({ m }) => m.type === 'NBIRTH'))
function dataOnlyOfBorn (w, data, birth) {
  for (const s of sessions(w)) {
    const born = new Map()
    for (const m of s.messages) {
      const key = m.device ?? ''
      if (m.type === 'NBIRTH') born.clear()
      if (m.type === birth) born.set(key, new Set(m.payload.metrics.map((x) => x.alias)))
      if (m.type === data && !m.payload.metrics.every((x) => born.get(key)?.has(x.alias))) fail('not born', m.topic)
    }
  }
  return of(w, data).length > 0 || fail('nothing to look at', data)
}
function changed (w, data, birth) {
  for (const s of sessions(w)) {
    const last = new Map()
    for (const m of s.messages.filter((m) => m.type === birth || m.type === data)) {
      for (const x of m.payload.metrics) {
        if (m.type === data && !x.historical && last.get(x.alias) === x.value) fail('nothing new', m.topic)
        if (!x.historical) last.set(x.alias, x.value)
      }
    }
  }
  return of(w, data).length > 0 || fail('nothing to look at', data)
}
function chronological (w, ...types) {
  return every(of(w, ...types), (m) => {
    const live = m.payload.metrics.filter((x) => !x.historical)
    return m.type.endsWith('BIRTH') // each metric once: nothing that could be out of order
      ? new Set(live.map((x) => x.name)).size === live.length
      : live.every((x, i) => i === 0 || live[i - 1].timestamp <= x.timestamp)
  })
}
const valued = (w, type) => everyMetric(of(w, type), (x) => (x.null ? x.kinds.length === 0 : x.kinds.length === 1))
const complete = (w, type) => everyMetric(of(w, type), (x) => x.name && Number.isInteger(x.datatype) && (x.null || x.kinds.length === 1))
// seq, bdSeq and what the hosts read agree with the will of the session.
const matching = (w) => every(sessions(w).filter((s) => s.messages.some((m) => m.type === 'NBIRTH')),
  (s) => s.messages.filter((m) => m.type === 'NBIRTH').every((m) => bdSeqOf(m.payload) === bdSeqOf(payloadOfWill(s, w))), (s) => s.server)
const increments = (w) => {
  const lives = [w.one.record.sessions.slice(0, -1), w.one.record.sessions.slice(-1), w.two.record.sessions] // processes
  return every(lives, (list) => list.every((s, i) => bdSeqOf(payloadOfWill(s, w)) === i), (l) => l.length) && lives[0].length > 1
}
const rebirthMetric = (w, holds) => every(of(w, 'NBIRTH'), (m) => { const x = metric(m, 'Node Control/Rebirth'); return x !== undefined && holds(x) })
const subscribed = (s, filter) => s.subscribes.some((x) => x.topic === filter && x.qos === 1)
const left = (w) => sessions(w).filter((s) => s.disconnect !== undefined)
const deathBeforeDisconnect = (w) => every(left(w), (s) => {
  const death = s.messages.find((m) => m.type === 'NDEATH')
  return death === undefined ? s.messages.length === 0 && false : death.order < s.disconnect && s.messages.at(-1) === death
}, (s) => `session with ${s.server}`)
const ids = (m) => [m.group, m.node, ...(DEVICE.includes(m.type) ? [m.device] : [])]
const legal = (id) => id.length > 0 && !/[+/#\0]/.test(id) && Buffer.from(id).toString() === id
const lowerUnique = (list) => new Set(list.map((x) => x.toLowerCase())).size === new Set(list).size
const hostBirths = (w) => w.two.record.messages((m) => m.type === 'NBIRTH')
const rebirthRun = (w) => w.one.record.messages((m) => m.order > w.rebirthFrom && m.order < w.rebirthTo)
const oneAtATime = (w) => every(w.two.record.sessions, (s) => w.two.record.sessions.every((o) => o === s || o.ended < s.begun || s.ended < o.begun), (s) => s.server)
const hostLeave = (w) => w.two.record.sessions.filter((s) => s.server === 'B')[0]

// ---- the table ----
export const assertions = {
  // identifiers
  'intro-group-id-string': (w) => every(all(w), (m) => legal(m.group)),
  'intro-group-id-chars': (w) => every(all(w), (m) => legal(m.group)),
  'intro-edge-node-id-string': (w) => every(all(w), (m) => legal(m.node)),
  'intro-edge-node-id-chars': (w) => every(all(w), (m) => legal(m.node)),
  'intro-device-id-string': (w) => every(of(w, ...DEVICE), (m) => legal(m.device)),
  'intro-device-id-chars': (w) => every(of(w, ...DEVICE), (m) => legal(m.device)),
  'topic-structure-namespace-valid-group-id': (w) => every(all(w), (m) => legal(m.group)),
  'topic-structure-namespace-valid-edge-node-id': (w) => every(all(w), (m) => legal(m.node)),
  'topic-structure-namespace-valid-device-id': (w) => every(of(w, ...DEVICE), (m) => legal(m.device)),
  'topic-structure-namespace-unique-device-id': (w) => every(bursts(w), ({ s, i }) => {
    const born = []
    for (const m of s.messages.slice(i + 1)) { if (m.type !== 'DBIRTH') break; born.push(m.device) }
    return new Set(born).size === born.length
  }, ({ m }) => m.topic),
  'case-sensitivity-sparkplug-ids': (w) => lowerUnique(all(w).flatMap(ids)) || fail('ids differ in case only', ''),
  'case-sensitivity-metric-names': (w) => every(of(w, ...BIRTHS), (m) => lowerUnique(m.payload.metrics.map((x) => x.name))),

  // topics
  'topic-structure': (w) => every(all(w), (m) => /^spBv1\.0\/[^/]+\/(NBIRTH|NDATA|NDEATH|DBIRTH|DDATA|DDEATH)\/[^/]+(\/[^/]+)?$/.test(m.topic)),
  'topic-structure-namespace-a': (w) => every(all(w), (m) => m.topic.startsWith('spBv1.0/')),
  'topic-structure-namespace-device-id-associated-message-types': (w) => every(of(w, ...DEVICE), (m) => m.topic.split('/').length === 5),
  'topic-structure-namespace-device-id-non-associated-message-types': (w) => every(of(w, 'NBIRTH', 'NDATA', 'NDEATH'), (m) => m.topic.split('/').length === 4),

  // the session
  'principles-rbe-recommended': (w) => changed(w, 'DDATA', 'DBIRTH'),
  'principles-birth-certificates-order': (w) => every(sessions(w).filter((s) => s.messages.some((m) => m.type !== 'NDEATH')), (s) => s.messages[0].type === 'NBIRTH', (s) => s.server),
  'principles-persistence-clean-session-311': (w) => every(sessions(w), (s) => s.connect.protocolVersion === 4 && s.connect.clean === true, (s) => s.server),
  'message-flow-edge-node-ncmd-subscribe': (w) => every(sessions(w), (s) => subscribed(s, 'spBv1.0/plant/NCMD/gw1'), (s) => s.server),
  'message-flow-edge-node-birth-publish-connect': (w) => every(sessions(w).filter((s) => s.messages.length > 0), (s) => s.suback < s.messages[0].order, (s) => s.server),
  'message-flow-edge-node-birth-publish-will-message': (w) => every(sessions(w), (s) => willOf(s) !== undefined, (s) => s.server),
  'message-flow-edge-node-birth-publish-will-message-topic': (w) => every(sessions(w), (s) => willOf(s).topic === 'spBv1.0/plant/NDEATH/gw1', (s) => s.server),
  'message-flow-edge-node-birth-publish-will-message-payload': (w) => every(sessions(w), (s) => payloadOfWill(s, w).metrics.length === 1, (s) => s.server),
  'message-flow-edge-node-birth-publish-will-message-payload-bdSeq': increments,
  'message-flow-edge-node-birth-publish-will-message-qos': (w) => every(sessions(w), (s) => willOf(s).qos === 1, (s) => s.server),
  'message-flow-edge-node-birth-publish-will-message-will-retained': (w) => every(sessions(w), (s) => willOf(s).retain === false, (s) => s.server),
  'payloads-ndeath-will-message': (w) => every(sessions(w), (s) => willOf(s).topic.includes('/NDEATH/'), (s) => s.server),
  'payloads-ndeath-will-message-qos': (w) => every(sessions(w), (s) => willOf(s).qos === 1, (s) => s.server),
  'payloads-ndeath-will-message-retain': (w) => every(sessions(w), (s) => willOf(s).retain === false, (s) => s.server),

  // the primary host
  'message-flow-edge-node-birth-publish-phid-wait': (w) => w.birthsBefore === 0 && hostBirths(w).length > 0,
  'message-flow-edge-node-birth-publish-phid-wait-id': (w) => every(hostBirths(w), (m) => m.order > w.noBirthBefore),
  'message-flow-edge-node-birth-publish-phid-wait-online': (w) => every(w.two.record.sessions.filter((s) => s.server === 'A').slice(0, 1), (s) => s.messages.every((m) => m.type === 'NDEATH'), (s) => s.server),
  'message-flow-edge-node-birth-publish-phid-wait-timestamp': (w) => w.two.b.got('DDATA').some((m) => m.order < w.oldOfflineAt),
  'message-flow-edge-node-birth-publish-phid-offline': (w) => both(hostLeave(w).messages.at(-1).type === 'NDEATH', hostLeave(w).disconnect > hostLeave(w).messages.at(-1).order, hostBirths(w).length === 2),
  'operational-behavior-edge-node-termination-host-offline': (w) => hostLeave(w).disconnect > w.oldOfflineAt,
  'operational-behavior-edge-node-termination-host-offline-reconnect': (w) => w.two.record.sessions.findIndex((s) => s === hostLeave(w)) < w.two.record.sessions.length - 1 && w.two.record.sessions.at(-1).server === 'A',
  'operational-behavior-edge-node-termination-host-offline-timestamp': (w) => hostLeave(w).messages.some((m) => m.type === 'DDATA') && hostLeave(w).disconnect > w.oldOfflineAt,
  'operational-behavior-primary-application-state-with-multiple-servers-state-subs': (w) => every(w.two.record.sessions, (s) => subscribed(s, 'spBv1.0/STATE/scada'), (s) => s.server),
  'operational-behavior-primary-application-state-with-multiple-servers-single-server': oneAtATime,
  'operational-behavior-primary-application-state-with-multiple-servers-walk': (w) => w.two.record.sessions.map((s) => s.server).join('').startsWith('AB') && w.two.record.sessions.at(-1).server === 'A',
  'operational-behavior-edge-node-birth-sequence-wait': (w) => w.birthsBefore === 0 && every(hostBirths(w), (m) => m.order > w.noBirthBefore),

  // NBIRTH
  'topics-nbirth-topic': (w) => shaped(w, 'NBIRTH'),
  'topics-nbirth-mqtt': (w) => quiet(w, 'NBIRTH'),
  'topics-nbirth-seq-num': (w) => every(of(w, 'NBIRTH'), (m) => m.payload.seq === 0),
  'topics-nbirth-timestamp': (w) => timed(w, 'NBIRTH'),
  'topics-nbirth-metric-reqs': (w) => dataOnlyOfBorn(w, 'NDATA', 'NBIRTH'),
  'topics-nbirth-metrics': (w) => complete(w, 'NBIRTH'),
  'topics-nbirth-bdseq-included': (w) => every(of(w, 'NBIRTH'), (m) => bdSeqOf(m.payload) !== undefined),
  'topics-nbirth-bdseq-matching': matching,
  'topics-nbirth-bdseq-increment': increments,
  'topics-nbirth-rebirth-metric': (w) => rebirthMetric(w, (x) => x.datatype === 11 && x.value === false),
  'message-flow-edge-node-birth-publish-nbirth-topic': (w) => shaped(w, 'NBIRTH'),
  'message-flow-edge-node-birth-publish-nbirth-payload': (w) => every(of(w, 'NBIRTH'), (m) => m.payload.readable.metrics.length > 0),
  'message-flow-edge-node-birth-publish-nbirth-payload-bdSeq': matching,
  'message-flow-edge-node-birth-publish-nbirth-qos': (w) => qos(w, 'NBIRTH', 0),
  'message-flow-edge-node-birth-publish-nbirth-retained': (w) => unretained(w, 'NBIRTH'),
  'message-flow-edge-node-birth-publish-nbirth-payload-seq': (w) => seqThere(w, 'NBIRTH'),
  'operational-behavior-data-publish-nbirth': (w) => dataOnlyOfBorn(w, 'NDATA', 'NBIRTH'),
  'operational-behavior-data-publish-nbirth-values': (w) => valued(w, 'NBIRTH'),
  'operational-behavior-data-publish-nbirth-change': (w) => changed(w, 'NDATA', 'NBIRTH'),
  'operational-behavior-data-publish-nbirth-order': (w) => chronological(w, 'NBIRTH', 'NDATA'),
  'payloads-nbirth-timestamp': (w) => timed(w, 'NBIRTH'),
  'payloads-nbirth-seq': (w) => seqThere(w, 'NBIRTH'),
  'payloads-nbirth-bdseq': (w) => every(of(w, 'NBIRTH'), (m) => bdSeqOf(m.payload) !== undefined),
  'payloads-nbirth-bdseq-repeat': matching,
  'payloads-nbirth-rebirth-req': (w) => rebirthMetric(w, (x) => x.value === false),
  'payloads-nbirth-qos': (w) => qos(w, 'NBIRTH', 0),
  'payloads-nbirth-retain': (w) => unretained(w, 'NBIRTH'),

  // DBIRTH
  'topics-dbirth-topic': (w) => shaped(w, 'DBIRTH'),
  'topics-dbirth-mqtt': (w) => quiet(w, 'DBIRTH'),
  'topics-dbirth-seq': (w) => counted(w, 'DBIRTH'),
  'topics-dbirth-timestamp': (w) => timed(w, 'DBIRTH'),
  'topics-dbirth-metric-reqs': (w) => dataOnlyOfBorn(w, 'DDATA', 'DBIRTH'),
  'topics-dbirth-metrics': (w) => complete(w, 'DBIRTH'),
  'message-flow-device-birth-publish-nbirth-wait': (w) => every(sessions(w).filter((s) => s.messages.some((m) => m.type === 'DBIRTH')), (s) => s.messages.findIndex((m) => m.type === 'NBIRTH') < s.messages.findIndex((m) => m.type === 'DBIRTH') && s.messages[0].type === 'NBIRTH', (s) => s.server),
  'message-flow-device-birth-publish-dbirth-topic': (w) => shaped(w, 'DBIRTH'),
  'message-flow-device-birth-publish-dbirth-match-edge-node-topic': (w) => every(of(w, 'DBIRTH'), (m) => { const n = m.session.messages.find((x) => x.type === 'NBIRTH'); return n.group === m.group && n.node === m.node }),
  'message-flow-device-birth-publish-dbirth-payload': (w) => every(of(w, 'DBIRTH'), (m) => m.payload.readable.metrics.length > 0),
  'message-flow-device-birth-publish-dbirth-qos': (w) => qos(w, 'DBIRTH', 0),
  'message-flow-device-birth-publish-dbirth-retained': (w) => unretained(w, 'DBIRTH'),
  'message-flow-device-birth-publish-dbirth-payload-seq': (w) => counted(w, 'DBIRTH'),
  'operational-behavior-data-publish-dbirth': (w) => dataOnlyOfBorn(w, 'DDATA', 'DBIRTH'),
  'operational-behavior-data-publish-dbirth-values': (w) => valued(w, 'DBIRTH'),
  'operational-behavior-data-publish-dbirth-change': (w) => changed(w, 'DDATA', 'DBIRTH'),
  'operational-behavior-data-publish-dbirth-order': (w) => chronological(w, 'DBIRTH', 'DDATA'),
  'payloads-dbirth-timestamp': (w) => timed(w, 'DBIRTH'),
  'payloads-dbirth-seq': (w) => seqThere(w, 'DBIRTH'),
  'payloads-dbirth-seq-inc': (w) => counted(w, 'DBIRTH'),
  // Devices that are known when the node is born; those that come later have no other moment than then.
  'payloads-dbirth-order': (w) => every(bursts(w), ({ s, i }) => {
    const born = new Set()
    for (const m of s.messages.slice(0, i)) if (m.type === 'DBIRTH') born.add(m.device); else if (m.type === 'DDEATH') born.delete(m.device)
    for (const m of s.messages.slice(i + 1)) { if (m.type !== 'DBIRTH') break; born.delete(m.device) }
    return born.size === 0
  }, ({ m }) => m.topic),
  'payloads-dbirth-qos': (w) => qos(w, 'DBIRTH', 0),
  'payloads-dbirth-retain': (w) => unretained(w, 'DBIRTH'),

  // NDATA, DDATA
  'topics-ndata-topic': (w) => shaped(w, 'NDATA'),
  'topics-ndata-mqtt': (w) => quiet(w, 'NDATA'),
  'topics-ndata-seq-num': (w) => counted(w, 'NDATA'),
  'topics-ndata-timestamp': (w) => timed(w, 'NDATA'),
  'topics-ndata-payload': (w) => changed(w, 'NDATA', 'NBIRTH'),
  'payloads-ndata-timestamp': (w) => timed(w, 'NDATA'),
  'payloads-ndata-seq': (w) => seqThere(w, 'NDATA'),
  'payloads-ndata-seq-inc': (w) => counted(w, 'NDATA'),
  'payloads-ndata-order': (w) => both(every(sessions(w).filter((s) => s.messages.some((m) => m.type === 'NDATA')), (s) => s.messages[0].type === 'NBIRTH', (s) => s.server), dataOnlyOfBorn(w, 'NDATA', 'NBIRTH')),
  'payloads-ndata-qos': (w) => qos(w, 'NDATA', 0),
  'payloads-ndata-retain': (w) => unretained(w, 'NDATA'),
  'topics-ddata-topic': (w) => shaped(w, 'DDATA'),
  'topics-ddata-mqtt': (w) => quiet(w, 'DDATA'),
  'topics-ddata-seq-num': (w) => both(counted(w, 'DDATA'), wraps(w)),
  'topics-ddata-timestamp': (w) => timed(w, 'DDATA'),
  'topics-ddata-payload': (w) => changed(w, 'DDATA', 'DBIRTH'),
  'payloads-ddata-timestamp': (w) => timed(w, 'DDATA'),
  'payloads-ddata-seq': (w) => seqThere(w, 'DDATA'),
  'payloads-ddata-seq-inc': (w) => both(counted(w, 'DDATA'), wraps(w)),
  'payloads-ddata-order': (w) => dataOnlyOfBorn(w, 'DDATA', 'DBIRTH'),
  'payloads-ddata-qos': (w) => qos(w, 'DDATA', 0),
  'payloads-ddata-retain': (w) => unretained(w, 'DDATA'),

  // NDEATH, DDEATH
  'topics-ndeath-topic': (w) => both(shaped(w, 'NDEATH'), every(sessions(w), (s) => willOf(s).topic === 'spBv1.0/plant/NDEATH/gw1', (s) => s.server)),
  'topics-ndeath-payload': (w) => both(every(of(w, 'NDEATH'), (m) => m.payload.metrics.length === 1 && bdSeqOf(m.payload) !== undefined), every(sessions(w), (s) => payloadOfWill(s, w).metrics.length === 1 && bdSeqOf(payloadOfWill(s, w)) !== undefined, (s) => s.server)),
  'topics-ndeath-seq': noSeq,
  'payloads-ndeath-seq': noSeq,
  'payloads-ndeath-bdseq': (w) => both(matching(w), every(of(w, 'NDEATH'), (m) => bdSeqOf(m.payload) === bdSeqOf(payloadOfWill(m.session, w)))),
  'payloads-ndeath-will-message-publisher': deathBeforeDisconnect,
  'payloads-ndeath-will-message-publisher-disconnect-mqtt311': deathBeforeDisconnect,
  'operational-behavior-edge-node-intentional-disconnect-ndeath': deathBeforeDisconnect,
  'operational-behavior-edge-node-intentional-disconnect-packet': (w) => every(left(w), (s) => s.disconnect > s.messages.at(-1).order, (s) => s.server),
  'topics-ddeath-topic': (w) => shaped(w, 'DDEATH'),
  'topics-ddeath-mqtt': (w) => quiet(w, 'DDEATH'),
  'topics-ddeath-seq-num': (w) => counted(w, 'DDEATH'),
  'payloads-ddeath-timestamp': (w) => timed(w, 'DDEATH'),
  'payloads-ddeath-seq': (w) => seqThere(w, 'DDEATH'),
  'payloads-ddeath-seq-inc': (w) => counted(w, 'DDEATH'),
  'payloads-ddeath-seq-number': (w) => seqThere(w, 'DDEATH'),
  'operational-behavior-device-ddeath': (w) => of(w, 'DDEATH').length === 1 && of(w, 'DDEATH')[0].device === 'tank-1',

  // commands
  'operational-behavior-data-commands-rebirth-name': (w) => rebirthMetric(w, () => true),
  'operational-behavior-data-commands-rebirth-name-aliases': (w) => rebirthMetric(w, (x) => x.alias === undefined),
  'operational-behavior-data-commands-rebirth-datatype': (w) => rebirthMetric(w, (x) => x.datatype === 11),
  'operational-behavior-data-commands-rebirth-value': (w) => rebirthMetric(w, (x) => x.value === false),
  'operational-behavior-data-commands-rebirth-action-1': (w) => every(rebirthRun(w), (m) => BIRTHS.includes(m.type)),
  'operational-behavior-data-commands-rebirth-action-2': (w) => rebirthRun(w).map((m) => m.device ?? m.type).sort().join() === 'NBIRTH,pump-1,tank-1' && rebirthRun(w)[0].type === 'NBIRTH',
  'operational-behavior-data-commands-rebirth-action-3': (w) => every(rebirthRun(w).filter((m) => m.type === 'NBIRTH'), (m) => bdSeqOf(m.payload) === bdSeqOf(payloadOfWill(m.session, w))),

  // payloads
  'payloads-timestamp-in-UTC': (w) => every(of(w, ...CARRYING), (m) => Math.abs(m.payload.timestamp - m.at) < 60000),
  'payloads-sequence-num-always-included': (w) => seqThere(w, ...CARRYING),
  'payloads-sequence-num-req-nbirth': (w) => seqThere(w, 'NBIRTH'),
  'payloads-sequence-num-incrementing': (w) => both(counted(w, ...CARRYING), wraps(w)),
  'payloads-name-requirement': (w) => everyMetric(of(w, ...CARRYING, 'NDEATH').filter((m) => m.type !== 'DDEATH'), (x) => x.name !== undefined || x.alias !== undefined),
  'payloads-alias-uniqueness': (w) => every(bursts(w), ({ s, i }) => {
    const seen = new Set()
    const list = [s.messages[i]]
    for (const m of s.messages.slice(i + 1)) { if (m.type !== 'DBIRTH') break; list.push(m) }
    return list.flatMap((m) => m.payload.metrics).filter((x) => x.alias !== undefined).every((x) => !seen.has(x.alias) && seen.add(x.alias))
  }, ({ m }) => m.topic),
  'payloads-alias-birth-requirement': (w) => everyMetric(of(w, ...BIRTHS), (x) => x.name !== undefined && (x.alias !== undefined || ['bdSeq', 'Node Control/Rebirth'].includes(x.name))),
  'payloads-alias-data-cmd-requirement': (w) => everyMetric(of(w, ...DATA), (x) => x.alias !== undefined && x.name === undefined),
  'payloads-name-birth-data-requirement': (w) => everyMetric(of(w, ...BIRTHS, ...DATA), (x) => Number.isInteger(x.timestamp)),
  'payloads-metric-timestamp-in-UTC': (w) => everyMetric(of(w, ...BIRTHS, ...DATA), (x, m) => m.at - x.timestamp > -1000 && m.at - x.timestamp < 300000),
  'payloads-metric-datatype-value-type': (w) => everyMetric(of(w, ...BIRTHS), (x) => Number.isInteger(x.datatype) && x.datatype >= 0 && x.datatype < 2 ** 32),
  'payloads-metric-datatype-value': (w) => everyMetric(of(w, ...BIRTHS), (x) => x.datatype >= 1 && x.datatype <= 34),
  'payloads-metric-datatype-req': (w) => everyMetric(of(w, ...BIRTHS), (x) => x.datatype !== undefined),
  'payloads-metric-datatype-not-req': (w) => everyMetric(of(w, ...DATA), (x) => x.datatype === undefined),
  'payloads-propertyset-keys-array-size': (w) => every(properties(w), (p) => p.keys.length === p.values.length),
  'payloads-propertyset-values-array-size': (w) => every(properties(w), (p) => p.values.length === p.keys.length),
  'payloads-metric-propertyvalue-type-type': (w) => every(properties(w).flatMap((p) => p.values), (v) => Number.isInteger(v.type)),
  'payloads-metric-propertyvalue-type-value': (w) => every(properties(w).flatMap((p) => p.values), (v) => (v.type >= 1 && v.type <= 14) || v.type === 20 || v.type === 21),
  'payloads-metric-propertyvalue-type-req': (w) => every(properties(w).flatMap((p) => p.values), (v) => v.type === 12 && typeof v.value === 'string')
}
function properties (w) { return of(w, ...BIRTHS).flatMap((m) => m.payload.metrics).map((x) => x.properties).filter(Boolean) }

// ---- what does not bear on this edge node ----
const reasons = [
  [/^conformance-/, 'what an MQTT server or a host application must do'],
  [/^(host-topic-|components-ph-state|intro-sparkplug-host-state|payloads-state-|operational-behavior-host-|message-flow-(phid|hid)-sparkplug-)/, 'what a host application must do'],
  [/^operational-behavior-edge-node-termination-host-action-/, 'what a host application does with a death'],
  [/^operational-behavior-primary-application-state-with-multiple-servers-state$/, 'what a host application publishes'],
  [/^(topics-ncmd-|topics-dcmd-|payloads-ncmd-|payloads-dcmd-|payloads-name-cmd-requirement|operational-behavior-data-commands-(ncmd|dcmd)-)/, 'what the sender of a command must do'],
  [/^(payloads-template-|topics-nbirth-templates)/, 'the node has no templates'],
  [/^payloads-dataset-/, 'the node has no data sets'],
  [/^payloads-propertyset-quality-/, 'the node sends no property Quality: a value that is missing is not sent'],
  [/(-50|-mqtt50)$/, 'the session is MQTT 3.1.1'],
  [/^(intro-edge-node-id-uniqueness|topic-structure-namespace-unique-edge-node-descriptor|payloads-nbirth-edge-node-descriptor)$/, 'a duty of whoever gives the names in a plant: a node cannot see the others'],
  [/^topic-structure-namespace-duplicate-device-id-across-edge-node$/, 'a permission'],
  [/^message-flow-device-dcmd-subscribe$/, 'devices take no outputs from here (the node listens to DCMD at QoS 1 all the same and counts what comes)']
]
export const reasonFor = (id) => reasons.find(([pattern]) => pattern.test(id))?.[1]
