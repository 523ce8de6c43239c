// SPDX-License-Identifier: Apache-2.0
// Lines "TOPIC HEX" on stdin, each decoded by sparkplug-payload to one line of JSON on stdout.
import { createInterface } from 'node:readline'
import { decode } from './plant.mjs'

for await (const line of createInterface({ input: process.stdin })) {
  const [topic, hex] = line.split(' ')
  const [, group, type, node, device] = topic.split('/')
  if (group === 'STATE' || type.endsWith('CMD')) continue
  const { seq, metrics } = decode(Buffer.from(hex, 'hex'))
  console.log(JSON.stringify({ group, type, node, device, seq, metrics }))
}
process.stdout.write('', () => process.exit(0)) // not before all is written
