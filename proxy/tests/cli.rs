//! The command line: what each command prints, and what it exits with.

mod support;

use std::path::{Path, PathBuf};

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
    assert!(mistakes.len() == 6, "{json}");
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
    let without = ran(&["reload", "--config", text(&file(GOOD))]);
    assert_eq!(without.code, Some(1));
    assert!(without.err.contains("no `admin`"), "{}", without.err);
}
