// Lets requests pass only with a certain field, and marks the answers to them.

import { log } from 'lockgate:filter/log@0.1.0';
import { set as setResponseField } from 'lockgate:filter/response@0.1.0';

// The proxy checks the operator's `config:` by it, before `create`.
const SCHEMA = {
  type: 'object',
  required: ['require'],
  additionalProperties: false,
  properties: {
    require: {
      type: 'string',
      minLength: 1,
      description: 'The request field that must be there.',
    },
    mark: {
      type: 'string',
      default: 'passed',
      description: 'The value of `x-checked` on answers.',
    },
  },
};

const encoder = new TextEncoder();

class Filter {
  constructor(require, mark) {
    this.require = require;
    this.mark = encoder.encode(mark);
  }

  static create(config) {
    const { require, mark = 'passed' } = JSON.parse(config);
    if (!require) {
      throw [{ at: '/require', message: 'an empty field name' }];
    }
    return new Filter(require, mark);
  }

  wants() {
    return {
      phases: { request: true, response: true },
      requestFields: [this.require],
      responseFields: [],
      clusters: [],
      retries: [],
      routes: [],
    };
  }

  onRequest(fields) {
    // What `wants` named: how many values the first field has, and then them.
    if (fields[0] > 0 || fields[1] > 0) {
      return { tag: 'next' };
    }
    log('info', 'refused', [['missing', this.require]]);
    const headers = [['content-type', encoder.encode('text/plain')]];
    const body = encoder.encode(`forbidden: no ${this.require}\n`);
    return { tag: 'respond', val: { status: 403, headers, body } };
  }

  onResponse(_fields) {
    setResponseField('x-checked', this.mark);
    return { tag: 'next' };
  }

  // Never called: `wants` does not ask for them, and no body is collected.

  onRequestBody(_body) {
    return { tag: 'keep' };
  }

  onResponseBody(_body) {
    return { tag: 'keep' };
  }

  onRequestTrailers() {}

  onResponseTrailers() {}

  onDone() {}
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
