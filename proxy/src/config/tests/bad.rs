use super::{check, check_with_listener, load};

#[test]
fn structure() {
    check(
        "",
        &["1:1: found no listener, wanted at least one in `listeners`"],
    );
    check(
        "listeners: []",
        &["1:12: found no listener, wanted at least one in `listeners`"],
    );
    check(
        "- a",
        &["1:1: found a list, wanted a map of keys such as `listeners`"],
    );
    check_with_listener(
        "worker: 2\nmax_generations: \"16\"\nlog: [info]\nfilters:\n",
        &[
            "2:1: found the unknown key `worker`, wanted `workers`",
            "3:18: found the string `16`, wanted a whole number from 2 to 1024 (without quotes it is a number)",
            "4:6: found a list, wanted a map",
            "5:8: found nothing, wanted a map (`{}` is an empty map)",
        ],
    );
    check_with_listener(
        "log: { levl: debug, colour: red, format: xml }\nworkers: 0\nadmin: { hosts: [1] }",
        &[
            "2:8: found the unknown key `levl`, wanted `level`",
            "2:21: found the unknown key `colour`, wanted `format` or `level`",
            "2:42: found `xml`, wanted `text` or `json`",
            "3:10: found the number 0, wanted `auto` or a whole number from 1 to 1024",
            "4:18: found the number 1, wanted a string that is not empty (quotes make it a string)",
        ],
    );
}

#[test]
fn tcp() {
    let clusters = "clusters: [{ name: a, endpoints: ['a:1'] }]\n";
    check(
        &format!(
            "listeners:\n\
             - {{ name: a, address: '1.1.1.1:80', cluster: a, protocols: [http1], server_first_ports: [25] }}\n\
             - {{ name: b, address: '1.1.1.1:81', cluster: a, tcp: {{ idle: 5s }} }}\n\
             - {{ name: c, address: '1.1.1.1:82', protocols: [tcp, http1] }}\n\
             - name: d\n  address: 1.1.1.1:83\n  cluster: a\n  protocols: [tcp]\n  \
             http2: {{ max_streams: 5 }}\n  timeouts: {{ handshake: 1s, idle: 5s }}\n  \
             limits: {{ max_connections: 5, max_requests: 5 }}\n  headers: {{}}\n  \
             tcp: {{ idle: 0s, max_lifetime: 10000h }}\n  server_first_ports: [0, 70000]\n{clusters}"
        ),
        &[
            "2:89: found `server_first_ports` where HTTP is spoken, wanted no such key: it is about TCP",
            "3:54: found `tcp` where HTTP is spoken, wanted no such key: it is about TCP",
            "4:3: found a listener of TCP without a cluster, wanted a `cluster` for its connections, or `connection_filters` that know one",
            "9:10: found `http2` where TCP is spoken, wanted no such key: it is about HTTP",
            "10:36: found `timeouts.idle` where TCP is spoken, wanted no such key: it is about HTTP",
            "11:47: found `limits.max_requests` where TCP is spoken, wanted no such key: it is about HTTP",
            "13:16: found `0ms`, wanted a duration from 1ms to 720h",
            "13:34: found `10000h`, wanted a duration from 1ms to 8760h",
            "14:24: found the number 0, wanted a whole number from 1 to 65535",
            "14:27: found the number 70000, wanted a whole number from 1 to 65535",
        ],
    );
}

#[test]
fn limits_of_endpoints() {
    check_with_listener(
        "clusters:\n\
         - { name: a, endpoints: ['a:1'], limits: { per_endpoint: { requests: 0, conections: 1 } } }\n\
         - { name: b, endpoints: [original_dst], limits: { per_endpoint: { requests: 1 } } }\n",
        &[
            "3:70: found the number 0, wanted a whole number from 1 to 1000000",
            "3:73: found the unknown key `conections`, wanted `connections`",
            "4:65: found limits of each endpoint where clients say where they go, wanted no such key, or endpoints that are known",
        ],
    );
}

#[test]
fn connections_that_are_made_ahead() {
    check_with_listener(
        "clusters:\n\
         - { name: a, endpoints: ['a:1'], pool: { warm: 9, max_idle: 8 } }\n\
         - { name: b, endpoints: ['a:1'], pool: { warm: 1 }, proxy_protocol: v2 }\n\
         - { name: c, endpoints: [original_dst], pool: { warm: 1 } }\n\
         - { name: d, endpoints: ['a:1'], pool: { max_requests: 0 } }\n",
        &[
            "3:48: found `warm: 9` above `max_idle: 8`, wanted `max_idle`, or less",
            "4:48: found `warm` where each connection is one client's (`proxy_protocol`), wanted no such key",
            "5:55: found `warm` where clients say where they go, wanted no such key, or endpoints that are known",
            "6:56: found the number 0, wanted a whole number from 1 to 1000000000",
        ],
    );
}

#[test]
fn proxy_headers_to_origins() {
    check_with_listener(
        "clusters:\n- { name: a, endpoints: ['a:1'], protocol: http2, proxy_protocol: v1 }\n- { name: b, endpoints: ['a:1'], proxy_protocol: v3 }\n",
        &[
            "3:67: found `proxy_protocol` where requests of many clients share a connection, wanted no such key, or `protocol: http1`",
            "4:50: found `v3`, wanted `v1` or `v2` (`v1` is near)",
        ],
    );
}

#[test]
fn quantities() {
    check_with_listener(
        "drain_timeout: 30\nclusters:\n- name: a\n  endpoints: [a:1]\n  resolve_every: 10 s\n  refused_pause: 2h\n  max_head_bytes: 64KB\n  pool: { max_idle: -1, idle_timeout: 99999999999999999999h }\n",
        &[
            "2:16: found the number 30, wanted a duration from 1ms to 24h, such as `250ms`, `10s`, `5m` or `1h`",
            "6:18: found `10 s`, wanted a duration from 100ms to 24h, such as `250ms`, `10s`, `5m` or `1h`",
            "7:18: found `2h`, wanted a duration from 0ms to 1h",
            "8:19: found `64KB`, wanted a size from 1KiB to 16MiB: a number of bytes, or such as `64KiB` or `1MiB`",
            "9:21: found the number -1, wanted a whole number from 0 to 100000",
            "9:39: found `18446744073709551615ms`, wanted a duration from 1ms to 24h",
        ],
    );
}

#[test]
fn listeners() {
    check(
        "listeners:\n- { name: a, address: 'localhost:80' }\n- { name: a, address: '1.1.1.1:80' }\n- { name: b c, address: '1.1.1.1:80' }\n- nmae: d\n  address: ':80'\n- 5\n",
        &[
            "2:23: found `localhost:80`, wanted an IP address with a port, such as `0.0.0.0:8080`, `unix:/path`, or `systemd:NAME`",
            "3:11: found the listener `a` again, first at 2:11, wanted each listener once",
            "4:11: found `b c`, wanted a name of 1 to 128 letters, digits, `_`, `.` and `-`",
            "4:25: found the address `1.1.1.1:80` again, first at 3:23, wanted another address",
            "5:3: found the unknown key `nmae`, wanted `name`",
            "6:12: found `:80`, wanted an IP address with a port, such as `0.0.0.0:8080`, `unix:/path`, or `systemd:NAME` (`0.0.0.0:80` is every IPv4 address of the machine)",
            "7:3: found the number 5, wanted a map with `name` and `address`",
        ],
    );
    check(
        "listeners:\n- name: a\n  cluster: shop\n  filters: [auth, router, auth, 7]\n  remove_request_headers: [x-user, 'a b', host]\nfilters: { auht: { component: 'lockgate:auth' } }\n",
        &[
            "2:3: found no key `address`, wanted `address` with an IP address with a port, such as `0.0.0.0:8080`",
            "3:12: found `shop`, wanted the name of a cluster, and there is none",
            "4:13: found `auth`, wanted the name of a filter, such as `auht`",
            "4:19: found `router`, wanted the name of a filter: `auht`",
            "4:27: found `auth`, wanted the name of a filter, such as `auht`",
            "4:27: found `auth` again, wanted each filter once in a listener",
            "4:33: found the number 7, wanted a string (quotes make it a string)",
            "5:36: found `a b`, wanted the name of a header field, such as `x-user`",
            "5:43: found `host`, wanted a field that is not the proxy's own",
        ],
    );
    check(
        "listeners:\n- name: a\n  address: '[::]:80'\n  proxy_protocol: { from: [], timeout: 2m }\n- name: b\n  address: '[::]:81'\n  proxy_protocol: { from: [10.0.0.1/8], requird: no }\n- name: c\n  address: '[::]:82'\n  proxy_protocol: {}\n",
        &[
            "4:27: found an empty list, wanted at least 1 item",
            "4:40: found `2m`, wanted a duration from 1ms to 1m",
            "7:28: found `10.0.0.1/8`, wanted the first address of the network: `10.0.0.0/8`",
            "7:41: found the unknown key `requird`, wanted `required`",
            "10:19: found no key `from`, wanted `from` with a list",
        ],
    );
    check(
        "listeners:\n- name: a\n  address: '[::]:80'\n  limits: { max_target_bytes: 1MiB, max_headers: 0 }\n  timeouts: { idel: 1s }\n  headers:\n    forwarded: xforwarded\n    trusted_hops: [10.0.0.1/8, 10.0.0.0/40]\n    server: ''\n    via: a b\n  path: { merge_slashes: yes, encoded_slashes: decode }\n",
        &[
            "4:31: found 1048576 bytes for the target, wanted no more than `max_head_bytes`, which is 65536",
            "4:50: found the number 0, wanted a whole number from 1 to 10000",
            "5:15: found the unknown key `idel`, wanted `idle`",
            "7:16: found `xforwarded`, wanted `both`, `none`, `x-forwarded` or `forwarded` (`x-forwarded` is near)",
            "8:20: found `10.0.0.1/8`, wanted the first address of the network: `10.0.0.0/8`",
            "8:32: found `10.0.0.0/40`, wanted a prefix of at most 32",
            "9:13: found an empty string, wanted `pass` or a value of visible ASCII characters",
            "10:10: found `a b`, wanted `off` or a name without spaces",
            "11:26: found the string `yes`, wanted `true` or `false`",
            "11:48: found `decode`, wanted `refuse` or `keep`",
        ],
    );
}

#[test]
fn calls_of_filters_go_where_the_file_says() {
    check_with_listener(
        "filters:\n  a:\n    component: ./a.wasm\n    grants: { call: [known, told, wanted] }\n    shadow: { component: ./a.wasm, call: [told, known] }\nclusters:\n- { name: known, endpoints: ['1.1.1.1:80'] }\n- { name: told, endpoints: [request_target], targets: { hosts: ['*'] } }\n- { name: wanted, endpoints: [original_dst] }\n",
        &[
            "5:29: found a cluster that goes where clients say, wanted one whose endpoints are known",
            "5:35: found a cluster that goes where clients say, wanted one whose endpoints are known",
            "6:43: found a cluster that goes where clients say, wanted one whose endpoints are known",
        ],
    );
}

#[test]
fn filters() {
    check_with_listener(
        "filters:\n  a b: { component: 'lockgate:x' }\n  b: { component: router }\n  c: { component: 'oci://x/y.wasm', on_error: denny }\n  d: {}\n  e:\n    component: ./e.wasm\n    grants: { call: [idp], secrets: [k], reveal: [2], shared: true }\n    limits: { cpu: 1m, memroy: 1MiB }\n    routes: { w: of, x: { confg: {} }, y: off, z: false, v: { config: 1, x: 2 } }\n",
        &[
            "3:3: found `a b`, wanted a name of 1 to 128 letters, digits, `_`, `.` and `-`",
            "4:19: found `router`, wanted `lockgate:NAME`, the path of a component or `oci://HOST/NAME@sha256:…` (`lockgate:router` is one that is shipped, `./router` a file)",
            "5:19: found `oci://x/y.wasm`, wanted `:TAG`, or `@sha256:` and 64 hex digits, at the end",
            "5:47: found `denny`, wanted `deny`, `skip` or `reset` (`deny` is near)",
            "6:6: found no key `component`, wanted `component` with `lockgate:NAME`, the path of a component or `oci://HOST/NAME@sha256:…`",
            "9:22: found `idp`, wanted the name of a cluster, and there is none",
            "9:38: found `k`, wanted the name of a secret, and there is none",
            "9:51: found the number 2, wanted a string (quotes make it a string)",
            "10:20: found `1m`, wanted a duration from 1ms to 10s",
            "10:24: found the unknown key `memroy`, wanted `memory`",
            "11:18: found `of`, wanted `off` or a map with `config`",
            "11:27: found the unknown key `confg`, wanted `config`",
            "11:74: found the unknown key `x`, wanted `config`",
        ],
    );
}

#[test]
fn no_filter_can_leave_attributes_for_another() {
    check_with_listener(
        "filters:\n  a: { component: 'lockgate:auth' }\n  a.b: { component: 'lockgate:auth' }\n  a.b.c: { component: 'lockgate:auth' }\n  ab: { component: 'lockgate:auth' }\n  b.c: { component: 'lockgate:auth' }\n",
        &[
            "4:3: found the filter `a.b` beside the filter `a`, whose attributes could pass for its own, wanted a name that is not another filter's with a dot behind it",
            "5:3: found the filter `a.b.c` beside the filter `a`, whose attributes could pass for its own, wanted a name that is not another filter's with a dot behind it",
        ],
    );
}

#[test]
fn secrets() {
    check_with_listener(
        "secrets:\n- { name: edge, value: shown }\n- { name: edge, env: NONE }\n- { name: empty, env: EMPTY }\n- { name: nowhere }\n- { name: twice, env: SECRET, value: hunter2 }\n- { name: number, value: 12345 }\n- { name: nothing, value: '' }\n- { name: x y, value: hunter2 }\n- { name: near, valeu: hunter2 }\n- { value: hunter2 }\n- { name: list, value: [hunter2] }\n- { name: file, file: ./secret.key }\n- { name: unset, value: '${NONE}' }\n",
        &[
            "4:11: found the secret `edge` again, first at 3:11, wanted each secret once",
            "4:22: found `NONE`, a variable that is not in the environment, wanted one that is",
            "5:23: found `EMPTY`, a variable that is empty, wanted a secret of 1 byte to 64 KiB",
            "6:3: found a secret that comes from nowhere, wanted exactly one of `file`, `env` and `value`",
            "7:38: found `value` beside `env`, wanted exactly one of `file`, `env` and `value`",
            "8:26: found a number, wanted a string that is not empty (quotes make it a string)",
            "9:27: found an empty string, wanted a string that is not empty",
            "10:11: found `x y`, wanted a name of 1 to 128 letters, digits, `_`, `.` and `-`",
            "11:17: found the unknown key `valeu`, wanted `value`",
            "12:3: found no key `name`, wanted `name` with a name",
            "13:24: found a list, wanted a string that is not empty",
            "14:23: found `./secret.key`, wanted no `file`: this configuration is not read from one",
            "15:26: found `${NONE}`, a variable that is not set, wanted it set, or with a default: `${NONE:-default}`",
        ],
    );
    let long = format!("secrets:\n- {{ name: long, value: {} }}", "x".repeat(65537));
    check_with_listener(
        &long,
        &["3:24: found a value that is longer than 64 KiB, wanted a secret of 1 byte to 64 KiB"],
    );
    check_with_listener(
        "secrets: [{ name: edge, value: shown }, { name: other, value: shown }]\nfilters:\n  f: { component: 'lockgate:f', grants: { secrets: [edge, egde, none], reveal: [oter, ''] } }\n",
        &[
            "4:59: found `egde`, wanted the name of a secret, such as `edge`",
            "4:65: found `none`, wanted the name of a secret: `edge` or `other`",
            "4:81: found `oter`, wanted the name of a secret, such as `other`",
            "4:87: found an empty string, wanted the name of a secret: `edge` or `other`",
        ],
    );
}

#[test]
fn clusters() {
    check_with_listener(
        "clusters:\n- name: a\n  endpoints: ['http://a:80', { address: a, weight: -1 }, { weight: 1 }, 5]\n- name: b\n  endpoints: []\n- name: c\n  balance: ring\n- name: a\n  endpoints: [unix:a.sock]\n",
        &[
            "4:15: found `http://a:80`, wanted `host:port`, `[v6]:port`, `unix:/path`, `srv:name` or `file:path` (without a scheme or a path: `a:80`)",
            "4:41: found `a`, wanted `host:port`, `[v6]:port`, `unix:/path`, `srv:name` or `file:path`",
            "4:52: found the number -1, wanted a whole number from 0 to 65535",
            "4:58: found no key `address`, wanted `address` with `host:port` or `unix:/path`",
            "4:73: found the number 5, wanted `host:port`, `unix:/path` or a map with `address`",
            "6:14: found an empty list, wanted at least 1 item",
            "7:3: found no key `endpoints`, wanted `endpoints` with a list",
            "8:12: found `ring`, wanted `round_robin`, `least_request`, `peak_ewma`, `random`, `ring_hash` or `maglev` (`ring_hash` is near)",
            "9:9: found the cluster `a` again, first at 3:9, wanted each cluster once",
            "10:15: found `unix:a.sock`, wanted an absolute path after `unix:`",
        ],
    );
}

#[test]
fn choices() {
    let endpoint = "endpoints: ['a:80']";
    check_with_listener(
        &format!(
            "clusters:\n- {{ name: a, {endpoint}, choices: 2 }}\n\
             - {{ name: b, {endpoint}, balance: maglev, choices: 4 }}\n\
             - {{ name: c, {endpoint}, balance: peak_ewma, choices: 1 }}\n\
             - {{ name: d, {endpoint}, balance: least_request, choices: 17 }}\n"
        ),
        &[
            "3:44: found `choices` with a policy that draws none, wanted no such key, or `balance: least_request` or `peak_ewma`",
            "4:61: found `choices` with a policy that draws none, wanted no such key, or `balance: least_request` or `peak_ewma`",
            "5:64: found the number 1, wanted a whole number from 2 to 16",
            "6:68: found the number 17, wanted a whole number from 2 to 16",
        ],
    );
}

#[test]
fn hashing() {
    let endpoint = "endpoints: ['a:80']";
    check_with_listener(
        &format!(
            "clusters:\n- {{ name: a, {endpoint}, hash_key: [address], bounded_load: 2 }}\n\
             - {{ name: b, {endpoint}, balance: maglev, bounded_load: 0.5 }}\n\
             - {{ name: c, {endpoint}, balance: ring_hash, hash_key: [] }}\n\
             - {{ name: d, {endpoint}, balance: ring_hash, hash_key: [color, {{}}, {{ header: host }}, {{ cookie: 'a b' }}, {{ cookie: a, path: / }}, {{ cookie: a, ttl: 1s, path: 'x' }}, {{ header: a, ttl: 1s }}] }}\n"
        ),
        &[
            "3:45: found `hash_key` with a policy that does not hash, wanted no such key, or `balance: ring_hash` or `maglev`",
            "3:70: found `bounded_load` with a policy that does not hash, wanted no such key, or `balance: ring_hash` or `maglev`",
            "4:66: found the number 0.5, wanted a number from 1.0 to 1000.0",
            "5:65: found an empty list, wanted at least 1 item",
            "6:66: found `color`, wanted `filter`, `address` or a map with `header` or `cookie`",
            "6:73: found a map with both or neither, wanted either `header` or `cookie`",
            "6:87: found `host`, wanted a field that is not the proxy's own",
            "6:105: found `a b`, wanted the name of a cookie, such as `affinity`",
            "6:133: found a path of a cookie that is never set, wanted `ttl` beside it: without that no cookie is set",
            "6:166: found `x`, wanted a path with a `/` at its beginning and without `;`",
            "6:173: found a field with attributes of a cookie, wanted `ttl` and `path` with `cookie` only",
        ],
    );
}

#[test]
fn process() {
    check_with_listener(
        "admin: { address: '0.0.0.0:80', hosts: ['a:80'], token: 'a b' }\nlog: { level: 'info,hyper' }\naccess_log: { to: stdot }\ncache_dir: ''\n",
        &[
            "2:19: found the address `0.0.0.0:80` again, first at 1:35, wanted another address",
            "2:41: found `a:80`, wanted a host name without a port",
            "2:57: found a token that cannot be sent in a header field, wanted visible ASCII characters without spaces",
            "3:15: found `info,hyper`, wanted `off`, `error`, `warn`, `info`, `debug` or `trace`, or `target=level`",
            "4:19: found `stdot`, wanted `stdout`, `off` or a path with a `/`",
            "5:12: found an empty string, wanted a string that is not empty",
        ],
    );
}

#[test]
fn yaml() {
    check_with_listener(
        "workers: 1\nworkers: 2\nlog: { level: info, level: warn }\n<<: { a: 1 }\nadmin: !x {}\ndrain_timeout: !!int x\n",
        &[
            "3:1: found the key `workers` again, first in line 2, wanted each key once",
            "4:21: found the key `level` again, first in line 4, wanted each key once",
            "5:1: found the merge key `<<`, wanted the keys themselves: YAML 1.2 has no merge key",
            "6:8: found the tag `!x`, wanted a value without a tag",
            "7:16: found a value that is not of its tag `!!int`, wanted one that is",
        ],
    );
    check(
        "a: {\n",
        &[
            "2:1: found a syntax error: while parsing a node, did not find expected node content, wanted YAML",
        ],
    );
    check(
        "a:\n\tb: 1\n",
        &[
            "2:2: found a syntax error: tabs disallowed within this context (block indentation), wanted YAML (YAML is indented with spaces, not with tabs)",
        ],
    );
    check(
        "a: 1\n---\nb: 1\n",
        &["2:1: found a second document, wanted one document in a file"],
    );
    check(
        "? [a]\n: 1\n",
        &["1:3: found a list or map as a key, wanted a plain word as a key"],
    );
    check(
        "a: &x [*x]\n",
        &["1:8: found an alias within the value it stands for, wanted a complete value"],
    );
    check_with_listener(
        "drain_timeout: .inf\n",
        &["2:16: found the number `.inf`, wanted a number that JSON can write"],
    );
}

#[test]
fn environment() {
    check_with_listener(
        "# ${COMMENT}\nworkers: ${NONE}\ncache_dir: 'a ${GONE} ${WORD} ${LOST}'\nlog: { level: \"${1}\" }\naccess_log:\n  to: >\n    x\n    ${FAR}\n",
        &[
            "3:10: found `${NONE}`, a variable that is not set, wanted it set, or with a default: `${NONE:-default}`",
            "4:15: found `${GONE}`, a variable that is not set, wanted it set, or with a default: `${GONE:-default}`",
            "4:31: found `${LOST}`, a variable that is not set, wanted it set, or with a default: `${LOST:-default}`",
            "5:16: found `${1}`, wanted `${NAME}`, `${NAME:-default}`, or `$${` for a plain `${`",
            "9:5: found `${FAR}`, a variable that is not set, wanted it set, or with a default: `${FAR:-default}`",
        ],
    );
    check_with_listener(
        "admin: { token: ${SECRET} }\n",
        &[
            "2:18: found a syntax error: while parsing a flow mapping, did not find expected ',' or '}', wanted YAML (within `{ }` and `[ ]`, a `${NAME}` needs quotes around it)",
        ],
    );
}

#[test]
fn what_came_from_the_environment_is_not_repeated() {
    check_with_listener(
        "workers: ${SECRET}\nmax_generations: \"${SECRET}\"\nadmin: { address: \"${SECRET}\", token: [a] }\nlog: { level: \"${SECRET}\" }\ndrain_timeout: ${EMPTY}\n",
        &[
            "2:10: found a string from the environment, wanted `auto` or a whole number from 1 to 1024",
            "3:18: found a string from the environment, wanted a whole number from 2 to 1024",
            "4:19: found a string from the environment, wanted `unix:/path` or an IP address with a port, such as `127.0.0.1:9901`",
            "4:39: found a list, wanted a string that is not empty",
            "5:15: found a string from the environment, wanted `off`, `error`, `warn`, `info`, `debug` or `trace`, or `target=level`",
            "6:16: found an empty string from the environment, wanted a duration from 1ms to 24h, such as `250ms`, `10s`, `5m` or `1h`",
        ],
    );
    check_with_listener(
        "admin: { token: 12345 }\n",
        &["2:17: found a number, wanted a string that is not empty (quotes make it a string)"],
    );
}

/// What refers to something whose name is mistaken may be right.
#[test]
fn a_mistaken_name_is_one_mistake() {
    check(
        "listeners: [{ name: web, address: '0.0.0.0:80', cluster: a, filters: [f] }]\nclusters:\n- name: \"${NOPE}\"\n  endpoints: [a:1]\n",
        &[
            "1:71: found `f`, wanted the name of a filter, and there is none",
            "3:10: found `${NOPE}`, a variable that is not set, wanted it set, or with a default: `${NOPE:-default}`",
        ],
    );
    check(
        "listeners: [{ name: web, address: '0.0.0.0:80', cluster: a, filters: [f] }]\nclusters: [{ nmae: a, endpoints: [a:1] }]\nfilter: {}\n",
        &[
            "2:14: found the unknown key `nmae`, wanted `name`",
            "3:1: found the unknown key `filter`, wanted `filters`",
        ],
    );
    check(
        "listner: []\n",
        &["1:1: found the unknown key `listner`, wanted `listeners`"],
    );
}

#[test]
fn addresses_that_cannot_both_be_listened_on() {
    check(
        "listeners:\n- { name: a, address: '127.0.0.1:80' }\n- { name: b, address: '0.0.0.0:80' }\n- { name: c, address: '127.0.0.2:80' }\n- { name: d, address: '127.0.0.1:0' }\n",
        &[
            "3:23: found the address `0.0.0.0:80`, which is also of `127.0.0.1:80` at 2:23, wanted another address",
        ],
    );
}

#[test]
fn long_numbers_are_told_as_they_are_written() {
    check_with_listener(
        "max_generations: 100000000000000000000\n",
        &["2:18: found the number 100000000000000000000, wanted a whole number from 2 to 1024"],
    );
}

#[test]
fn what_is_given_up_later_begins_later() {
    check_with_listener(
        "overload:\n  memory: { shed: 80, limit: 1MiB }\n  descriptors: { close: 99, refuse: 101 }\n  delay: { refuse: 20ms }\n",
        &[
            "3:19: found `shed` of 80, before `close` of 85, wanted `shed` no smaller than `close`",
            "3:30: found `1MiB`, wanted a size from 16MiB to 65536GiB",
            "4:25: found `shed` of 92, before `close` of 99, wanted `shed` no smaller than `close`",
            "4:37: found the number 101, wanted a whole number from 1 to 100",
            "5:20: found `refuse` of 20ms, before `shed` of 1s, wanted `refuse` no smaller than `shed`",
        ],
    );
}

#[test]
fn caches_have_a_bound() {
    check_with_listener(
        "max_cache_bytes: 64KiB\n",
        &["2:18: found `64KiB`, wanted a size from 1MiB to 1024GiB"],
    );
}

#[test]
fn includes_of_a_text() {
    check_with_listener(
        "include: [a.yaml]\n",
        &["2:11: found `a.yaml`, wanted no `include`: this configuration is not read from a file"],
    );
    check_with_listener(
        "include: a.yaml\n",
        &["2:10: found a string, wanted a list of paths, such as `[clusters.yaml, conf.d/*.yaml]`"],
    );
}

#[test]
fn mistakes_are_also_json() {
    let mistakes =
        load("listeners: [{ name: a, address: '1.1.1.1:1', clustr: b }]").expect_err("a mistake");
    assert_eq!(
        serde_json::to_value(&mistakes).expect("JSON"),
        serde_json::json!({
            "mistakes": [{
                "file": "x.yaml",
                "line": 1,
                "column": 46,
                "pointer": "/listeners/0/clustr",
                "message": "found the unknown key `clustr`, wanted `cluster`",
                "found": "the unknown key `clustr`",
                "wanted": "`cluster`",
            }],
            "more": 0,
        }),
    );
}

#[test]
fn registries() {
    let (digest, shown) = ("0".repeat(64), "0".repeat(49));
    check_with_listener(
        &format!(
            "filters:\n  a: {{ component: 'oci://r/a:1' }}\n  b: {{ component: 'lockgate:b', pull: always }}\n  c: {{ component: 'r/c@sha256:{digest}' }}\n  d: {{ component: 'oci://r/d:1', pull: never }}\nregistries:\n- {{ host: 'r:1' }}\n- {{ host: 'R:1', plain_http: true, ca: x.pem }}\n- {{ host: 'https://r', timeout: 2h }}\n- {{ plain_http: 1 }}\n"
        ),
        &[
            "3:19: found `oci://r/a:1`, a tag, which may be another component tomorrow, wanted a digest, `@sha256:…`, or `pull: always`",
            "4:39: found `pull` of a component that is in no registry, wanted no `pull`",
            &format!(
                "5:19: found `r/c@sha256:{shown}…`, wanted `lockgate:NAME`, the path of a component or `oci://HOST/NAME@sha256:…` (`oci://r/c@sha256:{digest}` is one in a registry)"
            ),
            "6:40: found `never`, wanted `missing` or `always`",
            "9:11: found the registry `r:1` again, first at 8:11, wanted each registry once",
            "9:40: found `ca` beside `plain_http`, wanted no `ca`: with `plain_http` nothing is certified",
            "10:11: found `https://r`, wanted a host name or address, with a port if references have one",
            "10:33: found `2h`, wanted a duration from 1ms to 1h",
            "11:3: found no key `host`, wanted `host` with a host name or address, with a port if references have one",
            "11:17: found the number 1, wanted `true` or `false`",
        ],
    );
}

#[test]
fn health() {
    let head = "endpoints: ['a:80']";
    check_with_listener(
        &format!(
            "clusters:\n- {{ name: a, {head}, health_checks: [{{}}, {{ tcp: {{}}, http: {{}} }}, {{ grpc: {{}} }}] }}\n\
             - {{ name: b, {head}, health_checks: [{{ http: {{ path: x, status: ['300-200', 99], method: HEAD, body: a }} }}] }}\n\
             - {{ name: c, {head}, outliers: {{ max_ejected: 101, base_time: 10s, max_time: 1s }} }}\n\
             - {{ name: d, {head}, subsets: {{ by: [[v]], fallback: default }} }}\n\
             - {{ name: e, {head}, subsets: {{ by: [], default: {{ v: a }} }} }}\n\
             - {{ name: f, endpoints: [{{ address: 'a:80', tier: 128, zone: 'a b' }}], panic_threshold: 101 }}\n"
        ),
        &[
            "3:51: found a check of none or of several kinds, wanted exactly one of `http`, `tcp` and `grpc`",
            "3:55: found a check of none or of several kinds, wanted exactly one of `http`, `tcp` and `grpc`",
            "3:86: found a call of gRPC where the endpoints speak HTTP/1, wanted `protocol: http2` or `auto` of the cluster",
            "4:67: found `x`, wanted a path, such as `/healthz`",
            "4:79: found `300-200`, wanted a status, or a range such as `200-299`",
            "4:90: found the number 99, wanted a status, such as `200`, or a range, such as `200-299`",
            "4:115: found a text that is to be in the answer to a HEAD, which has no body, wanted `method: GET`, or no such key",
            "5:60: found the number 101, wanted a whole number from 0 to 100",
            "5:91: found a time below `base_time`, wanted that, or a longer one",
            "6:44: found `fallback: default` without labels, wanted `default`: the labels that are asked for then",
            "7:50: found an empty list, wanted at least 1 item",
            "7:63: found `default`, which nobody falls back to, wanted `fallback: default` beside it",
            "8:51: found the number 128, wanted a whole number from 0 to 127",
            "8:62: found `a b`, wanted a name of 1 to 128 letters, digits, `_`, `.` and `-`",
            "8:89: found the number 101, wanted a whole number from 0 to 100",
        ],
    );
}

#[test]
fn hedges() {
    check_with_listener(
        "retry_policies:\n- { name: a, hedge: {} }\n- { name: b, attempts: 1, hedge: { after: 2h } }\n- { name: c, hedge: { after: 50ms, least: 1ms } }\n- { name: d, hedge: { after: p49, least: 0s, more: 1 } }\n- { name: e, hedge: { after: 50 } }\n- { name: f, try_timeout: 1s, hedge: { after: 1s } }\nclusters:\n- { name: c, endpoints: ['a:1'] }\n",
        &[
            "3:21: found no key `after`, wanted `after` with a duration from 1ms to 1h, such as `50ms`, or `p50` to `p99`",
            "4:34: found `hedge` with `attempts: 1`, so that there is never a second try, wanted 2 attempts or more",
            "4:43: found `2h`, wanted a duration from 1ms to 1h",
            "5:43: found `least` with `after: 50ms`, wanted `least` beside `p95` and the like, or not at all",
            "6:30: found `p49`, wanted a duration from 1ms to 1h, such as `50ms`, or `p50` to `p99`",
            "6:42: found `0ms`, wanted a duration from 1ms to 1h",
            "6:46: found the unknown key `more`, wanted `after` or `least`",
            "7:30: found the number 50, wanted a duration from 1ms to 1h, such as `50ms`, or `p50` to `p99`",
            "8:47: found `after` when a try has no more time, so that there is never a second one, wanted less than `try_timeout`",
        ],
    );
}

#[test]
fn retry_policies() {
    check_with_listener(
        "retry_policies:\n- { name: a, attempts: 11, methods: some }\n- { name: a, on: [5xx, timeouts, 200], backoff: { base: 1s } }\n- { name: x, on: [{ grpc: [gone] }], max_body: 1GiB, retry_after: 2h }\n- { name: b, on: [] }\nclusters:\n- { name: c, endpoints: ['a:1'], retry: other, retry_budget: { percent: 101 } }\n- { name: d, endpoints: ['a:1'], timeouts: { total: 0s, try: 2d, tls: 0ms } }\n",
        &[
            "3:24: found the number 11, wanted a whole number from 1 to 10",
            "3:37: found `some`, wanted `idempotent` or `any`",
            "4:11: found the retry policy `a` again, first at 3:11, wanted each retry policy once",
            "4:24: found `timeouts`, wanted `connect_failure`, `refused_stream`, `reset`, `try_timeout`, `gateway_error`, `5xx`, a status from 400 to 599, or a map with `grpc`",
            "4:34: found the number 200, wanted a whole number from 400 to 599",
            "4:57: found `base: 1s` above `max`, wanted at most 250ms",
            "5:28: found `gone`, wanted `cancelled`, `unknown`, `invalid_argument`, `deadline_exceeded`, `not_found`, `already_exists`, `permission_denied`, `resource_exhausted`, `failed_precondition`, `aborted`, `out_of_range`, `unimplemented`, `internal`, `unavailable`, `data_loss` or `unauthenticated`",
            "5:48: found `1GiB`, wanted a size from 0 to 16MiB",
            "5:67: found `2h`, wanted a duration from 0ms to 1h",
            "6:18: found an empty list, wanted at least 1 item",
            "8:41: found `other`, wanted the name of a retry policy: `a`, `b` or `x`",
            "8:73: found the number 101, wanted a whole number from 0 to 100",
            "9:53: found `0ms`, wanted a duration from 1ms to 24h",
            "9:62: found `2d`, wanted a duration from 1ms to 24h, such as `250ms`, `10s`, `5m` or `1h`",
            "9:71: found `0ms`, wanted a duration from 1ms to 1h",
        ],
    );
}
