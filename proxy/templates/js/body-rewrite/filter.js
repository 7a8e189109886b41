// Replaces a word in bodies of requests or of answers.

import { log } from 'lockgate:filter/log@0.1.0';

// The proxy checks the operator's `config:` by it, before `create`.
const SCHEMA = {
  type: 'object',
  required: ['find', 'replace'],
  additionalProperties: false,
  properties: {
    find: { type: 'string', minLength: 1, description: 'What to look for.' },
    replace: { type: 'string', description: 'What takes its place.' },
    in: {
      enum: ['request', 'response'],
      default: 'response',
      description: 'Whose bodies.',
    },
  },
};

// Longer bodies are refused.
const MAX_BODY_BYTES = 1 << 20;

const encoder = new TextEncoder();

class Filter {
  constructor(find, replace, side) {
    this.find = encoder.encode(find);
    this.replace = encoder.encode(replace);
    this.side = side;
  }

  static create(config) {
    const options = JSON.parse(config);
    if (!options.find) {
      throw [{ at: '/find', message: 'nothing to look for' }];
    }
    return new Filter(options.find, options.replace, options.in ?? 'response');
  }

  wants() {
    const isRequest = this.side === 'request';
    return {
      phases: { request: isRequest, response: !isRequest },
      requestFields: isRequest ? ['content-encoding'] : [],
      responseFields: isRequest ? [] : ['content-encoding'],
      clusters: [],
      retries: [],
      routes: [],
    };
  }

  onRequest(fields) {
    return begin(fields);
  }

  onRequestBody(body) {
    return this.rewrite(body.bytes);
  }

  onResponse(fields) {
    return begin(fields);
  }

  onResponseBody(body) {
    return this.rewrite(body.bytes);
  }

  // Bytes and not text, so that what is no UTF-8 stays as it is.
  rewrite(body) {
    const places = placesOf(this.find, body);
    if (places.length === 0) {
      return { tag: 'keep' };
    }
    const grown = this.replace.length - this.find.length;
    const rewritten = new Uint8Array(body.length + places.length * grown);
    let from = 0;
    let to = 0;
    for (const place of places) {
      rewritten.set(body.subarray(from, place), to);
      to += place - from;
      rewritten.set(this.replace, to);
      to += this.replace.length;
      from = place + this.find.length;
    }
    rewritten.set(body.subarray(from), to);
    return { tag: 'replace', val: rewritten };
  }

  // Never called: `wants` does not ask for them.

  onRequestTrailers() {}

  onResponseTrailers() {}

  onDone() {}
}

function begin(fields) {
  // What `wants` named: how many values the first field has, and then them.
  const isEncoded = fields[0] > 0 || fields[1] > 0;
  if (isEncoded) {
    // What is compressed cannot be searched.
    return { tag: 'next' };
  }
  return { tag: 'buffer', val: { limit: MAX_BODY_BYTES, overflow: 'reject' } };
}

function placesOf(word, body) {
  const places = [];
  let at = body.indexOf(word[0]);
  while (at >= 0 && at + word.length <= body.length) {
    if (word.every((byte, offset) => body[at + offset] === byte)) {
      places.push(at);
      at = body.indexOf(word[0], at + word.length);
    } else {
      at = body.indexOf(word[0], at + 1);
    }
  }
  return places;
}

// An error that is thrown would be a trap that says nothing. As a text, and for `create`
// in a list of mistakes, it is the filter's error, and logged.
function telling(method, told) {
  return function (...given) {
    try {
      return method.apply(this, given);
    } catch (error) {
      const isError = error instanceof Error;
      throw isError ? told(`${error} (${error.stack.split('\n')[0]})`) : error;
    }
  };
}

Filter.create = telling(Filter.create, (message) => [{ at: '', message }]);
for (const name of Object.getOwnPropertyNames(Filter.prototype)) {
  if (name.startsWith('on')) {
    Filter.prototype[name] = telling(Filter.prototype[name], (message) => message);
  }
}

// The engine's own console writes nowhere.
for (const level of ['debug', 'info', 'warn', 'error']) {
  console[level] = (...texts) => log(level, texts.join(' '), []);
}
console.log = console.info;

// No verdict of this filter makes one.
class Transform {
  push(chunk) {
    return chunk;
  }

  finish() {
    return new Uint8Array();
  }
}

export const httpFilter = {
  describe() {
    return { name: '{{name}}', version: '0.1.0', configSchema: JSON.stringify(SCHEMA) };
  },
  Filter,
  Transform,
};
