// An SMSC of the library smpp (node). It answers with hexadecimal ids and writes decimal ones in receipts' texts.
// The last digits of a recipient choose what it does: see `behaviours`.
'use strict';

const smpp = require('smpp');

let last = 0xA00;
const seen = new Set();
const THROTTLED = smpp.ESME_RTHROTTLED;

const behaviours = {
  '0004': (once) => (once ? THROTTLED : 0), // throttled once
  '0014': (once) => (once ? smpp.ESME_RMSGQFUL : 0), // the queue of this number is full once
  '0015': (once, pdu) => (longest(pdu.validity_period) ? smpp.ESME_RINVEXPIRY : 0), // no validity above 72 hours
};

function longest(validity) {
  return validity instanceof Date && validity - Date.now() > 72 * 3600 * 1000 + 60000;
}

function receipt(session, pdu, number) {
  const text = `id:${String(number).padStart(10, '0')} sub:001 dlvrd:001 submit date:2611301905 ` +
    'done date:2611301906 stat:DELIVRD err:000 text:';
  const fields = {
    source_addr: pdu.destination_addr,
    destination_addr: pdu.source_addr,
    esm_class: smpp.ESM_CLASS.MC_DELIVERY_RECEIPT,
    receipted_message_id: number.toString(16).toUpperCase(),
    message_state: smpp.MESSAGE_STATE.DELIVERED,
  };
  if (pdu.destination_addr.endsWith('0103')) {
    session.data_sm(fields);
  } else if (pdu.destination_addr.endsWith('0008')) {
    // ASCII octets, declared as UCS-2
    session.deliver_sm({ ...fields, data_coding: 8, short_message: { message: Buffer.from(text) } });
  } else {
    session.deliver_sm({ ...fields, short_message: text });
  }
}

const server = smpp.createServer((session) => {
  session.on('error', () => session.destroy());
  session.on('bind_transceiver', (pdu) => {
    const right = pdu.system_id === 'gateway' && pdu.password === 'secret';
    session.send(pdu.response({ command_status: right ? 0 : smpp.ESME_RINVPASWD, system_id: 'node' }));
  });
  session.on('enquire_link', (pdu) => session.send(pdu.response()));
  session.on('unbind', (pdu) => {
    session.send(pdu.response());
    session.close();
  });
  session.on('submit_sm', (pdu) => {
    const ending = pdu.destination_addr.slice(-4);
    const once = !seen.has(pdu.destination_addr);
    seen.add(pdu.destination_addr);
    if (ending === '0099' && once) {
      session.unbind(() => session.close());
      return;
    }
    const status = behaviours[ending] ? behaviours[ending](once, pdu) : 0;
    if (status) {
      session.send(pdu.response({ command_status: status }));
      return;
    }
    last += 1;
    const number = last;
    session.send(pdu.response({ message_id: number.toString(16).toUpperCase() }));
    if (pdu.registered_delivery) {
      receipt(session, pdu, number);
    }
  });
});

server.on('error', (error) => {
  console.error(String(error));
  process.exit(1);
});
server.listen(Number(process.argv[2]), '127.0.0.1', () => console.log('listening'));
