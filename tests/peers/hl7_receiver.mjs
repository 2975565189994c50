// A receiver of HL7 v2 over MLLP by @medplum/hl7, whose reading of messages is not ours: node hl7_receiver.mjs NODE_MODULES [CODE]
// Prints the port it listens on, then each message as it read it, one JSON a line. CODE (AA, AE, AR) is what it answers.
import { createRequire } from 'node:module';
import path from 'node:path';
import { pathToFileURL } from 'node:url';

const [modules, code = 'AA'] = process.argv.slice(2);
const load = async (name) => import(pathToFileURL(createRequire(path.join(modules, 'x.cjs')).resolve(name)));
const { Hl7Server } = await load('@medplum/hl7');

const server = new Hl7Server((connection) => {
  connection.addEventListener('message', ({ message }) => {
    const one = (segment, field) => message.getSegment(segment)?.getField(field);
    const documents = message.getAllSegments('OBX').map((obx) => obx.getField(5).getComponent(5)).filter(Boolean);
    console.log(JSON.stringify({
      type: one('MSH', 9)?.toString(), control: one('MSH', 10)?.toString(), facility: one('MSH', 4)?.toString(),
      patient: one('PID', 3)?.toString(), name: one('PID', 5)?.getComponent(1), document: documents[0],
      segments: message.segments.map((segment) => segment.name),
    }));
    connection.send(message.buildAck({ ackCode: code }));
  });
  connection.addEventListener('error', () => {});
});
server.start(0, 'utf-8');
server.server.on('listening', () => console.log(server.server.address().port));
