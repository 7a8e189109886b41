//! The command line: what each command prints, and what it exits with.

mod support;

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::Stdio;

use serde_json::Value;
use support::process::{file, lockgate, run};
use support::{Proxy, whole};

const COMMANDS: &[&[&str]] = &[
    &[],
    &["run"],
    &["check"],
    &["demo"],
    &["schema"],
    &["filter"],
    &["filter", "inspect"],
    &["filter", "test"],
    &["reload"],
    &["version"],
];

/// What a command printed and its exit code.
struct Ran {
    code: Option<i32>,
    out: String,
    err: String,
}

fn ran(arguments: &[&str]) -> Ran {
    let output = run(arguments);
    Ran {
        code: output.status.code(),
        out: String::from_utf8(output.stdout).unwrap(),
        err: String::from_utf8(output.stderr).unwrap(),
    }
}

impl Ran {
    fn json(&self) -> Value {
        serde_json::from_str(&self.out).unwrap_or_else(|_| panic!("{}", self.out))
    }
}

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

#[test]
fn every_command_tells_how_it_is_used() {
    for command in COMMANDS {
        let told = ran(&[command, &["--help"][..]].concat());
        assert_eq!(told.code, Some(0), "{command:?}: {}", told.err);
        assert!(
            told.out.contains("Usage: lockgate"),
            "{command:?}: {}",
            told.out
        );
    }
    let whole = ran(&["--help"]).out;
    for command in [
        "run", "check", "demo", "schema", "filter", "reload", "version",
    ] {
        assert!(
            whole.contains(&format!("\n  {command} ")),
            "{command}: {whole}"
        );
    }
}

#[test]
fn what_is_no_command_is_bad_input() {
    for arguments in [
        &["serve"][..],
        &[],
        &["run"],
        &["check"],
        &["run", "--config"],
        &["version", "--loud"],
        &["filter", "remove"],
        &["reload"],
    ] {
        let told = ran(arguments);
        assert_eq!(told.code, Some(2), "{arguments:?}");
        assert!(told.out.is_empty() && !told.err.is_empty(), "{arguments:?}");
    }
}

#[test]
fn version_names_itself_and_the_contract() {
    let version = env!("CARGO_PKG_VERSION");
    assert!(
        ran(&["version"])
            .out
            .starts_with(&format!("lockgate {version} "))
    );
    let told = ran(&["version", "--json"]).json();
    assert_eq!(told["version"], version);
    assert_eq!(told["contract"], lockgate::filter::CONTRACT);
    assert_eq!(ran(&["--version"]).code, Some(0));
}

#[test]
fn schema_is_a_json_schema_of_every_top_key() {
    let told = ran(&["schema"]);
    assert_eq!(told.code, Some(0));
    let schema = told.json();
    let keys = schema["properties"].as_object().unwrap();
    for key in [
        "listeners",
        "filters",
        "clusters",
        "admin",
        "include",
        "max_generations",
    ] {
        assert!(keys[key]["description"].is_string(), "{key}");
    }
    assert!(jsonschema::meta::is_valid(&schema));
}

const GOOD: &str = "listeners: [{ name: web, address: '127.0.0.1:0', cluster: a }]\n\
                    clusters: [{ name: a, endpoints: ['127.0.0.1:9'] }]\n";

#[test]
fn a_good_file_checks_well() {
    let path = file(GOOD);
    let told = ran(&["check", text(&path)]);
    assert_eq!(told.code, Some(0), "{}{}", told.out, told.err);
    assert_eq!(told.out, format!("{}: good\n", path.display()));
    let told = ran(&["check", text(&path), "--json"]).json();
    assert_eq!(
        (&told["ok"], &told["mistakes"]),
        (&true.into(), &Value::Array(vec![]))
    );
}

/// Of structure, values, references and the filter's own schema.
const BAD: &str = "listeners:
  - name: web
    adress: 127.0.0.1:0
    filters: [router]
  - name: web
    address: nowhere
    cluster: checkuot
filters:
  router:
    component: lockgate:router
clusters:
  - { name: checkout, endpoints: [], balance: fastest }
";

#[test]
fn every_mistake_is_told_at_once_with_its_place() {
    let folder = Proxy::folder();
    let path = folder.join("lockgate.yaml");
    std::fs::write(&path, BAD).unwrap();
    let told = ran(&["check", text(&path)]);
    assert_eq!(told.code, Some(2));
    for (place, word) in [
        ("3:5", "adress"),
        ("5:11", "web"),
        ("6:14", "nowhere"),
        ("7:14", "checkuot"),
        ("10:5", "routes"),
        ("12:34", "an empty list"),
        ("12:47", "fastest"),
    ] {
        let place = format!("{}:{place}:", path.display());
        let line = told.out.lines().find(|line| line.contains(&place));
        let line = line.unwrap_or_else(|| panic!("{place} {word} in\n{}", told.out));
        assert!(
            line.starts_with("error: ") && line.contains(word) && line.contains(", wanted "),
            "{line}"
        );
    }
    let hint = told
        .out
        .lines()
        .find(|line| line.contains("checkuot"))
        .unwrap();
    assert!(
        hint.contains("checkout"),
        "the nearest name is told: {hint}"
    );

    let json = ran(&["check", text(&path), "--json"]);
    assert_eq!(json.code, Some(2));
    let json = json.json();
    assert_eq!(json["ok"], false);
    let mistakes = json["mistakes"].as_array().unwrap();
    assert!(mistakes.len() == 7, "{json}");
    let first = &mistakes[0];
    assert_eq!(
        (&first["line"], &first["column"]),
        (&3.into(), &5.into()),
        "{first}"
    );
    assert_eq!(first["file"], text(&path));
}

/// By its schema and by its `create`, each at the value in the file.
#[test]
fn a_filters_own_configuration_is_checked_where_it_stands() {
    let check = |config: &str| {
        let path = file(&format!(
            "{GOOD}filters:\n  router:\n    component: lockgate:router\n    config:\n      {config}\n"
        ));
        let told = ran(&["check", text(&path)]);
        assert_eq!(told.code, Some(2), "{}", told.out);
        told.out
    };
    let by_schema = check("routes: [{ name: all, macth: { path: / }, cluster: a }]");
    assert!(by_schema.contains("macth"), "{by_schema}");
    assert!(by_schema.contains(":11:"), "the line is told: {by_schema}");
    let by_create = check("routes: [{ name: all, match: { path_regex: '(' }, cluster: a }]");
    assert!(by_create.contains(":11:"), "{by_create}");
    let by_wants = check("routes: [{ name: all, match: { path: / }, cluster: nowhere }]");
    assert!(by_wants.contains("nowhere"), "{by_wants}");
}

#[test]
fn a_warning_is_told_and_is_no_mistake() {
    let path = file(&format!(
        "{GOOD}filters: {{ router: {{ component: 'lockgate:router', config: {{ routes: [{{ name: all, match: {{ path_prefix: / }}, cluster: a }}] }} }} }}\n"
    ));
    let told = ran(&["check", text(&path)]);
    assert_eq!(told.code, Some(0), "{}", told.out);
    assert!(told.out.starts_with("warning: "), "{}", told.out);
    let json = ran(&["check", text(&path), "--json"]).json();
    assert_eq!(json["warnings"].as_array().unwrap().len(), 1, "{json}");
}

#[test]
fn what_cannot_be_read_is_bad_input() {
    for arguments in [
        &["check", "/nowhere/lockgate.yaml"][..],
        &["run", "--config", "/nowhere/lockgate.yaml"],
        &["reload", "--config", "/nowhere/lockgate.yaml"],
        &["filter", "inspect", "/nowhere/filter.wasm"],
        &["filter", "inspect", "lockgate:nothing"],
    ] {
        let told = ran(arguments);
        assert_eq!(
            told.code,
            Some(2),
            "{arguments:?}: {}{}",
            told.out,
            told.err
        );
        let text = told.out + &told.err;
        assert!(
            text.contains("nowhere") || text.contains("nothing"),
            "{text}"
        );
    }
}

#[test]
fn a_component_is_told_inside_out() {
    let told = ran(&["filter", "inspect", "lockgate:router"]);
    assert_eq!(told.code, Some(0), "{}", told.err);
    for word in [
        "name      ",
        "world     lockgate:filter/filter@",
        "sha256:",
        "imports   ",
        "\"routes\"",
    ] {
        assert!(told.out.contains(word), "{word}: {}", told.out);
    }
    let json = ran(&["filter", "inspect", "lockgate:router", "--json"]).json();
    assert!(json["size"].as_u64().unwrap() > 10_000, "{json}");
    assert!(
        json["imports"]
            .as_array()
            .unwrap()
            .iter()
            .any(|import| import.as_str().unwrap().contains("/exchange"))
    );
    assert!(json["config_schema"]["properties"]["routes"].is_object());

    let path: PathBuf = Proxy::folder().join("no.wasm");
    std::fs::write(&path, b"not a component").unwrap();
    let told = ran(&["filter", "inspect", text(&path)]);
    assert_eq!(told.code, Some(2));
    assert!(told.err.starts_with(text(&path)), "{}", told.err);
}

#[test]
fn a_secret_from_the_environment_is_never_printed() {
    const SECRET: &str = "s3cret-of-the-environment";
    let config = |keys: &str| {
        format!(
            "{GOOD}filters: {{ auth: {{ component: 'lockgate:auth', config: {{ {keys} }} }} }}\n"
        )
    };
    for keys in [
        "api_keys: [{ name: a, key: '${LOCKGATE_TEST_KEY}', mistake: 1 }]",
        "api_keys: '${LOCKGATE_TEST_KEY}'",
        "api_keys: [{ name: '${LOCKGATE_TEST_KEY}', key_sha256: '${LOCKGATE_TEST_KEY}' }]",
    ] {
        let path = file(&config(keys));
        for json in [&[][..], &["--json"]] {
            let mut command = lockgate(&["check", text(&path)]);
            let output = command
                .args(json)
                .env("LOCKGATE_TEST_KEY", SECRET)
                .output()
                .unwrap();
            assert_eq!(output.status.code(), Some(2), "{keys}");
            let told = [output.stdout, output.stderr].concat();
            let told = String::from_utf8(told).unwrap();
            assert!(!told.contains(SECRET), "{told}");
        }
    }
    let missing = ran(&[
        "check",
        text(&file(&config(
            "api_keys: [{ name: a, key: '${LOCKGATE_NO_SUCH}' }]",
        ))),
    ]);
    assert_eq!(missing.code, Some(2));
    assert!(missing.out.contains("LOCKGATE_NO_SUCH"), "{}", missing.out);
}

#[test]
fn reload_asks_a_running_one() {
    let folder = Proxy::folder();
    let path = folder.join("lockgate.yaml");
    let socket = folder.join("admin.sock");
    let policy = |token: &str| {
        format!(
            "admin: {{ address: 'unix:{}', token: {token} }}\n{GOOD}",
            socket.display()
        )
    };
    let proxy = Proxy::start_in(folder, &policy("a-token"));
    let told = ran(&["reload", "--config", text(&path)]);
    assert_eq!(told.code, Some(0), "{}{}", told.out, told.err);
    assert_eq!(told.out, "reloaded: generation 2, nothing changed\n");
    let admin = format!("unix:{}", socket.display());
    let json = ran(&["reload", "--admin", &admin, "--token", "a-token", "--json"]);
    assert_eq!(
        (json.code, &json.json()["generation"]),
        (Some(0), &3.into())
    );
    let refused = ran(&["reload", "--admin", &admin]);
    assert_eq!(refused.code, Some(1));
    assert!(refused.err.contains("401"), "{}", refused.err);

    proxy.stop();
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    std::fs::write(&path, whole(&policy("a-token"))).unwrap();
    let nobody = ran(&["reload", "--config", text(&path)]);
    assert_eq!(nobody.code, Some(1));
    assert!(
        nobody.err.contains("cannot connect to the admin address"),
        "{}",
        nobody.err
    );
    let hint = "`admin.address` counts from the next start";
    assert!(nobody.err.contains(hint), "{}", nobody.err);
    assert!(nobody.err.contains("--admin"), "{}", nobody.err);
    let without = ran(&["reload", "--config", text(&file(GOOD))]);
    assert_eq!(without.code, Some(2));
    assert!(without.err.contains("no `admin`"), "{}", without.err);
}

#[test]
fn reload_finds_the_one_that_its_options_name() {
    let policy =
        |token: &str| format!("admin: {{ address: '127.0.0.1:0', token: {token} }}\n{GOOD}");
    let proxy = Proxy::start(&policy("a-token"));
    let (admin, web) = (proxy.admin(), proxy.address());
    // It tells an address that nothing was bound to, and the right token.
    let moved = file(&policy("a-token").replace("127.0.0.1:0", "127.0.0.1:1"));
    let address = admin.to_string();
    let named = format!("localhost:{}", admin.port());
    for address in [&address, &named] {
        let told = ran(&["reload", "--config", text(&moved), "--admin", address]);
        assert_eq!(told.code, Some(0), "{}{}", told.out, told.err);
    }
    let told = ran(&["reload", "--admin", &named, "--token", "a-token"]);
    assert_eq!(told.code, Some(0), "{}{}", told.out, told.err);

    let lost = ran(&["reload", "--config", text(&moved)]);
    assert_eq!(lost.code, Some(1));
    assert!(lost.err.contains("127.0.0.1:1"), "{}", lost.err);
    let stranger = ran(&["reload", "--admin", &web.to_string()]);
    assert_eq!(stranger.code, Some(1));
    let expected = format!("{web} is no admin address of a Lockgate");
    assert!(stranger.err.contains(&expected), "{}", stranger.err);
}

#[test]
fn reload_tells_by_json_also_that_nobody_was_asked() {
    let proxy = Proxy::start(&format!(
        "admin: {{ address: '127.0.0.1:0', token: a-token }}\n{GOOD}"
    ));
    let admin = proxy.admin().to_string();
    let good = file(GOOD);
    let check = |arguments: &[&str], code: i32, word: &str| {
        let told = ran(&[&["reload", "--json"], arguments].concat());
        assert_eq!(told.code, Some(code), "{arguments:?}: {}", told.out);
        let json = told.json();
        assert_eq!(json["ok"], false, "{json}");
        let error = json["error"].as_str().unwrap();
        assert!(error.contains(word), "{error}");
        assert_eq!(told.err, "");
    };
    check(&["--admin", &admin], 1, "401");
    check(&["--admin", "127.0.0.1:1"], 1, "cannot connect");
    check(&["--admin", "unix:/nowhere/a.sock"], 1, "/nowhere/a.sock");
    for bad in ["9901", "localhost", ":9901", "localhost:http", "unix:", ""] {
        check(&["--admin", bad], 2, "wanted HOST:PORT or unix:PATH");
    }
    check(&["--config", text(&good)], 2, "no `admin`");
}

#[test]
fn the_usage_of_reload_wants_one_of_its_options() {
    let help = ran(&["reload", "--help"]).out;
    let usage = help.lines().find(|line| line.contains("Usage:")).unwrap();
    assert!(
        usage.contains("<--config <FILE>|--admin <ADDRESS>>"),
        "{usage}"
    );
}

#[test]
fn an_access_log_that_cannot_be_written_is_a_mistake_at_its_place() {
    let folder = Proxy::folder();
    let to = |path: &Path| {
        file(&format!(
            "access_log: {{ to: '{}' }}\n{GOOD}",
            path.display()
        ))
    };
    for (bad, word) in [
        (folder.join("nowhere/access.log"), "whose folder"),
        (folder.clone(), "which is a folder"),
    ] {
        let path = to(&bad);
        for command in [&["check"][..], &["run", "--config"]] {
            let told = ran(&[command, &[text(&path)]].concat());
            assert_eq!(told.code, Some(2), "{}{}", told.out, told.err);
            let line = told.out + &told.err;
            assert!(line.contains("lockgate.yaml:4:19:"), "{line}");
            assert!(line.contains(text(&bad)) && line.contains(word), "{line}");
        }
    }
    let new = folder.join("access.log");
    let told = ran(&["check", text(&to(&new))]);
    assert_eq!(told.code, Some(0), "{}", told.out);
    assert!(!new.exists(), "a check makes no file");
}

/// The demo up to the end of what it explains.
struct Demo {
    child: std::process::Child,
    told: String,
}

impl Demo {
    fn start(folder: &Path) -> Self {
        let mut child = lockgate(&["demo", "--port", "0", "--admin-port", "0", "--dir"])
            .arg(folder)
            .env("XDG_CACHE_HOME", env!("CARGO_TARGET_TMPDIR"))
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let mut told = String::new();
        for line in lines.map_while(Result::ok) {
            told += &format!("{line}\n");
            if line.starts_with("Ctrl-C") {
                break;
            }
        }
        Self { child, told }
    }
}

impl Drop for Demo {
    fn drop(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

#[test]
fn the_demo_tells_lines_that_a_shell_takes_whole() {
    let folder = Proxy::folder();
    let told = Demo::start(&folder).told.clone();
    let to_try: Vec<_> = told.lines().filter(|line| line.contains("curl")).collect();
    assert!(to_try.len() >= 7, "{told}");
    for line in to_try {
        let (command, outcome) = line.split_once("  # ").unwrap();
        assert!(command.trim().starts_with("curl -i http://127.0.0.1:"));
        assert!(!command.trim().contains("  "), "{line}");
        assert!(!outcome.is_empty());
    }
    assert!(!told.contains("keeping"), "{told}");

    let again = Demo::start(&folder).told.clone();
    let kept = again.lines().next().unwrap();
    assert!(
        kept.contains("its ports count, not --port and --admin-port"),
        "{kept}"
    );
    std::fs::remove_dir_all(folder).unwrap();
}
