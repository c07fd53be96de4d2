// Calls Predict as the served .proto describes it, and prints one line of JSON for each call.
//
//   node client.js ADDRESS FILE.proto < calls
//
// A line of input is {"request": {...}, "metadata": {...}, "deadlineMs": 5000, "hex": "0a01ff"}: "hex" sends these bytes
// in place of "request", "path" calls another method. A line of output is {"reply": {...}} or {"code": 3, "details": "..."}, and "trailers".
'use strict';

const readline = require('readline');
const grpc = require('@grpc/grpc-js');
const loader = require('@grpc/proto-loader');

const [address, file] = process.argv.slice(2);
const loaded = grpc.loadPackageDefinition(
  loader.loadSync(file, { keepCase: true, longs: String, defaults: true, oneofs: true }),
);

function findService(scope) {
  for (const value of Object.values(scope)) {
    if (typeof value === 'function' && value.service) return value;
    const found = typeof value === 'object' && !value.format ? findService(value) : undefined;
    if (found) return found;
  }
  return undefined;
}

const Predictor = findService(loaded);
const client = new Predictor(address, grpc.credentials.createInsecure());
const method = Predictor.service.Predict;

function call({ request, metadata = {}, deadlineMs = 10000, hex, path }) {
  const sent = new grpc.Metadata();
  for (const [name, value] of Object.entries(metadata)) sent.set(name, value);
  const serialize = hex === undefined ? method.requestSerialize : () => Buffer.from(hex, 'hex');
  return new Promise((resolve) => {
    const answer = {};
    const stream = client.makeUnaryRequest(
      path ?? method.path, serialize, method.responseDeserialize, request ?? {}, sent,
      { deadline: Date.now() + deadlineMs },
      (error, reply) => {
        if (error) Object.assign(answer, { code: error.code, details: error.details });
        else answer.reply = reply;
      },
    );
    stream.on('status', (status) => {
      answer.trailers = status.metadata.getMap();
      setImmediate(() => resolve(answer));
    });
  });
}

async function main() {
  const calls = [];
  for await (const line of readline.createInterface({ input: process.stdin })) calls.push(call(JSON.parse(line)));
  for (const answer of await Promise.all(calls)) console.log(JSON.stringify(answer));
  client.close();
}

main().catch((error) => {
  console.error(error);
  process.exit(1);
});
