// SPDX-License-Identifier: Apache-2.0
// Runs the edge node through its life and holds what was on the wire against the table of assertions.
//   NODE_MODULES=... node check.mjs PROGRAM        closing line: passed=N applicable=N not_applicable=N total=299
import fs from 'node:fs'
import path from 'node:path'
import { fileURLToPath } from 'node:url'
import { assertions, reasonFor } from './assertions.mjs'
import { Node, Record, Server, decode, until } from './plant.mjs'

const log = (...words) => console.error(...words)
const program = process.argv[2]
const NCMD = 'spBv1.0/plant/NCMD/gw1'
const rebirth = [{ name: 'Node Control/Rebirth', type: 'Boolean', value: true }]

// One server, no primary host: births, data, wrap of the sequence, commands, deaths, a cut and a kill.
async function ordinaryLife (world) {
  const record = new Record()
  const a = await new Server('A', record).start()
  const node = new Node(program, ['--group', 'plant', '--servers', String(a.port)])
  node.say('describe pump-1 flow:l/min,temp:degC', 'describe tank-1 level:m')
  node.say('row pump-1 0 1.5 20', 'row tank-1 0 3', 'row pump-1 0 1.5 20')
  await until('births', () => a.got('DBIRTH', 'pump-1').length && a.got('DBIRTH', 'tank-1').length)
  for (let i = 0; i < 300; i++) { // beyond 255
    node.say(`row pump-1 0 ${i / 4 + 2} 20`)
    if (i % 10 === 9) node.say(`row pump-1 0 ${i / 4 + 2} 20`) // nothing new: report by exception
    await until('data', () => a.got('DDATA').length >= i, 30)
  }
  log('births and data')
  node.say('window pump-1 0 minute 7.5') // a metric that no birth has told of
  await until('the birth of a new metric', () => a.got('DBIRTH', 'pump-1').some((m) => m.payload.metrics.some((x) => x.name === 'flow/minute/mean')))
  node.say('row pump-1 60000 99.5 30') // stored somewhere for a minute
  await until('historical data', () => a.got('DDATA').some((m) => m.payload.metrics.some((x) => x.historical)))
  world.rebirthFrom = record.order
  await a.command(NCMD, rebirth)
  await until('the births that were asked for', () => a.got('NBIRTH').length === 2 && a.got('DBIRTH', 'tank-1').length === 2)
  world.rebirthTo = record.order
  node.say('row pump-1 0 5 6')
  await until('data behind them', () => a.got('DDATA').at(-1).order > world.rebirthTo)
  log('rebirth')
  for (const junk of [Buffer.from('garbage'), Buffer.alloc(0), Buffer.alloc(70000, 0x12)]) await a.command(NCMD, junk)
  await a.command(NCMD, [{ name: 'Node Control/Rebirth', type: 'Boolean', value: false }])
  await a.command(NCMD, [{ name: 'Node Control/Reboot', type: 'Boolean', value: true }])
  await a.command('spBv1.0/plant/DCMD/gw1/pump-1', [{ name: 'flow', type: 'Double', value: 1 }])
  await until('junk to be counted', () => true)
  for (;;) {
    const s = (await node.stats()).sparkplug
    if (s.bad_commands + s.ignored_commands >= 6) break
  }
  node.say('device tank-1 offline')
  await until('a death', () => a.got('DDEATH', 'tank-1').length === 1)
  await until('data of the node', () => a.got('NDATA').length > 0) // fewer devices online
  node.say('row tank-1 0 4')
  await until('its return', () => a.got('DBIRTH', 'tank-1').length === 3)
  const births = a.got('NBIRTH').length
  a.open = false
  a.cut()
  await until('the will', () => a.got('NDEATH').length === 1)
  for (let i = 0; i < 20; i++) node.say(`row pump-1 ${1000 - 10 * i} ${i} 7`)
  await node.stats() // it has read them
  world.storedFrom = record.order
  a.open = true
  await until('the session to come back with what was stored', () => a.got('NBIRTH').length === births + 1 &&
    a.got('DDATA').some((m) => m.order > world.storedFrom && m.payload.metrics.filter((x) => x.historical).length >= 19), 60)
  node.say('row pump-1 0 50 8')
  await until('live data', () => a.got('DDATA').at(-1).payload.metrics.some((x) => !x.historical && x.value === 50))
  log('cut and return')
  if (await node.stop() !== 0) throw new Error(`the node did not end cleanly:\n${node.log}`)
  await until('the orderly end', () => record.sessions.at(-1).disconnect)
  const second = new Node(program, ['--group', 'plant', '--servers', String(a.port)])
  await until('a second start', () => a.got('NBIRTH').length === births + 2)
  const deaths = a.got('NDEATH').length
  world.killedAt = record.order
  await second.kill()
  await until('the will of the killed', () => a.got('NDEATH').length === deaths + 1)
  log('stop and kill')
  await a.stop()
  world.one = { record, host: a }
}

// Two servers and a primary host.
async function withHost (world) {
  const record = new Record()
  const a = await new Server('A', record).start()
  const b = await new Server('B', record).start()
  const node = new Node(program, ['--group', 'plant', '--host', 'scada', '--servers', `${a.port},${b.port}`])
  const on = (server) => record.sessions.filter((s) => s.server === server)
  const births = () => record.messages((m) => m.type === 'NBIRTH')
  node.say('describe pump-1 flow:l/min', 'row pump-1 0 1')
  await until('the first server', () => on('A').length === 1 && on('A')[0].suback)
  await a.state('other', true, 5000) // somebody else
  await a.host.publishAsync('spBv1.0/STATE/scada', 'ONLINE', { qos: 1 }) // the form of an older specification
  await node.stats()
  world.noBirthBefore = record.order
  await a.state('scada', false, 1000)
  await until('the walk to the next server', () => on('B').length === 1)
  world.birthsBefore = births().length
  await b.state('scada', true, 2000)
  await until('births', () => births().length === 1)
  log('host online')
  await b.state('scada', false, 1999) // older: of a session that is over
  node.say('row pump-1 0 2')
  await until('data all the same', () => b.got('DDATA').length >= 1)
  world.oldOfflineAt = record.order
  await b.state('scada', true, 2000)
  await a.state('scada', true, 1500)
  await b.state('scada', false, 2000)
  await until('the end of that session', () => on('B')[0].disconnect)
  node.say('row pump-1 0 3')
  await until('births at the next server', () => births().length === 2 && on('A').length === 2)
  world.againAt = record.order
  await until('what was stored meanwhile', () => a.got('DBIRTH').length >= 1)
  if (await node.stop() !== 0) throw new Error(`the node did not end cleanly:\n${node.log}`)
  await until('the orderly end', () => record.sessions.at(-1).disconnect)
  log('walked')
  await a.stop()
  await b.stop()
  world.two = { record, a, b }
}

function judge (world) {
  const here = path.dirname(fileURLToPath(import.meta.url))
  const ids = fs.readFileSync(path.join(here, 'ids.txt'), 'utf8').trim().split('\n')
  const counts = { passed: 0, applicable: 0, not_applicable: 0 }
  const reasons = new Map()
  let wrong = 0
  for (const id of ids) {
    const check = assertions[id]
    const reason = reasonFor(id)
    if ((check === undefined) === (reason === undefined)) {
      log(`${id}: ${check ? 'has a check and a reason not to' : 'has neither check nor reason'}`)
      wrong++
    } else if (check === undefined) {
      counts.not_applicable++
      reasons.set(reason, [...(reasons.get(reason) ?? []), id])
    } else {
      counts.applicable++
      let complaint
      try {
        complaint = check(world) === true ? undefined : 'does not hold'
      } catch (e) {
        complaint = e.message
      }
      if (complaint === undefined) counts.passed++
      else log(`FAILED tck-id-${id}: ${complaint}`)
    }
  }
  for (const id of Object.keys(assertions)) {
    if (!ids.includes(id)) { log(`${id}: no such assertion`); wrong++ }
  }
  for (const [reason, list] of reasons) log(`not applicable (${list.length}): ${reason}\n    ${list.join(' ')}`)
  console.log(`passed=${counts.passed} applicable=${counts.applicable} not_applicable=${counts.not_applicable} total=${ids.length}`)
  return wrong === 0 && counts.passed === counts.applicable
}

const world = { decode }
try {
  await ordinaryLife(world)
  await withHost(world)
  process.exit(judge(world) ? 0 : 1)
} catch (e) {
  log(`FAILED: ${e.stack}`)
  process.exit(1)
}
