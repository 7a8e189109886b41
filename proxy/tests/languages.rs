//! The same two filters in each language, made as a user makes them: `filter new`,
//! `filter build`, then their cases, and a proxy by the project's own configuration.
//!
//! Rust's tools are there wherever this runs. Where those of another language are
//! not, its test says so and passes; in CI (`CI_RUN`) it fails. Python and what is
//! installed for it are found as `filter build` finds them (`PYTHON`).
//! `LOCKGATE_NODE_MODULES` names a folder with what `npm install` brings; with it,
//! JavaScript has to be built too.

mod support;

use std::env;
use std::fs;
use std::io::Write;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::Output;

use support::process::lockgate;
use support::{Origin, Proxy};

#[test]
fn rust() {
    the_two_filters_in("rust");
}

#[test]
fn c() {
    the_two_filters_in("c");
}

#[test]
fn python() {
    the_two_filters_in("python");
}

#[test]
fn js() {
    the_two_filters_in("js");
}

fn the_two_filters_in(language: &str) {
    let header_check = Project::new(language, "header-check");
    if header_check.build() {
        its_cases_pass(&header_check);
        only_those_with_the_field_pass(&header_check);
        a_bad_configuration_is_refused(&header_check);
        match language {
            "python" => what_it_says_is_logged(
                &header_check,
                (
                    "def on_request(self, fields: bytes) -> Verdict:",
                    "        ",
                ),
                "print('printed', self.require); {}['nothing']",
                "KeyError: 'nothing' at=",
            ),
            "js" => what_it_says_is_logged(
                &header_check,
                ("onRequest(fields) {", "    "),
                "console.log('printed', this.require); null.nothing;",
                "the filter failed: error: TypeError: can't access property \"nothing\" of null (",
            ),
            _ => {}
        }
        let body_rewrite = Project::new(language, "body-rewrite");
        assert!(body_rewrite.build());
        its_cases_pass(&body_rewrite);
        answers_are_rewritten(&body_rewrite);
        requests_are_rewritten(&body_rewrite);
        if language == "c" {
            it_is_built_for_another_world(&header_check);
            a_broken_program_changes_nothing(&body_rewrite);
        }
    }
}

#[test]
fn what_is_missing_is_named_with_how_to_get_it() {
    for (language, get) in [
        ("rust", "https://rustup.rs"),
        ("c", "pip install ziglang==0.17.0"),
        ("python", "pip install componentize-py==0.25.1"),
        ("js", "apt-get install nodejs npm"),
    ] {
        let project = Project::named(language, "header-check", "bare");
        let mut build = lockgate(&["filter", "build"]);
        build.arg(&project.folder).env_clear().env("PATH", "/none");
        let output = build.output().unwrap();
        let told = told(&output);
        assert_eq!(output.status.code(), Some(2), "{told}");
        assert!(told.starts_with("missing: "), "{told}");
        assert!(told.contains("\nget it: ") && told.contains(get), "{told}");
        assert!(!project.component().exists());
    }
}

/// As a rustup that has no toolchain for the folder.
#[test]
fn a_tool_that_is_there_and_cannot_run_says_why_itself() {
    let project = Project::named("rust", "header-check", "without-toolchain");
    let bin = project.folder.join("bin");
    fs::create_dir(&bin).unwrap();
    let cargo = bin.join("cargo");
    fs::write(
        &cargo,
        "#!/bin/sh\necho 'no default is configured' >&2\nexit 1\n",
    )
    .unwrap();
    fs::set_permissions(&cargo, fs::Permissions::from_mode(0o755)).unwrap();
    let mut build = lockgate(&["filter", "build"]);
    let output = build.arg(&project.folder).env("PATH", &bin).output();
    let output = output.unwrap();
    assert_eq!(output.status.code(), Some(2));
    assert_eq!(
        told(&output),
        "no default is configured\n`cargo --version` failed\n"
    );
}

#[test]
fn nothing_is_written_over() {
    let project = Project::named("c", "header-check", "here-already");
    let mine = project.folder.join("filter.c");
    fs::write(&mine, "mine").unwrap();
    let mut again = lockgate(&["filter", "new", "here-already", "--lang", "js"]);
    let output = again.current_dir(project.folder.parent().unwrap()).output();
    let output = output.unwrap();
    assert_eq!(output.status.code(), Some(2));
    assert!(
        told(&output).contains("is here already"),
        "{}",
        told(&output)
    );
    assert_eq!(fs::read_to_string(mine).unwrap(), "mine");
}

#[test]
fn what_is_no_project_is_told() {
    let empty = Proxy::folder();
    let build = |more: &[&str]| {
        let mut build = lockgate(&["filter", "build"]);
        let output = build.arg(&empty).args(more).output().unwrap();
        assert_eq!(output.status.code(), Some(2));
        told(&output)
    };
    assert!(build(&[]).contains("is no filter project"));
    fs::write(empty.join("filter.c"), "").unwrap();
    fs::write(empty.join("package.json"), "").unwrap();
    assert!(build(&[]).contains("Tell it with --lang"));
    fs::remove_dir_all(empty).unwrap();
}

/// The same for all languages.
fn its_cases_pass(project: &Project) {
    let mut test = lockgate(&["filter", "test", "cases.yaml"]);
    test.current_dir(&project.folder)
        .env("XDG_CACHE_HOME", project.folder.join("cache"));
    let output = test.output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    let all = format!("{}: {said}{}", project.language, told(&output));
    assert!(output.status.success(), "{all}");
}

/// What is printed, and what nobody catches: by this line behind that one.
fn what_it_says_is_logged(
    project: &Project,
    (before, indent): (&str, &str),
    line: &str,
    failed: &str,
) {
    let file = match project.language.as_str() {
        "python" => "http_filter.py",
        _ => "filter.js",
    };
    let source = project.folder.join(file);
    let text = fs::read_to_string(&source).unwrap();
    assert!(text.contains(before), "{text}");
    let changed = text.replace(before, &format!("{before}\n{indent}{line}"));
    fs::write(&source, changed).unwrap();
    let output = project.build_with(&[], &[]);
    assert!(output.status.success(), "{}", told(&output));
    let mut test = lockgate(&["filter", "test", "cases.yaml"]);
    test.current_dir(&project.folder)
        .env("XDG_CACHE_HOME", project.folder.join("cache"));
    let output = test.output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(said.contains("logged info: printed x-team\n"), "{said}");
    let place = format!("{file}:");
    let is_told = |line: &str| line.contains(failed) && line.contains(&place);
    assert!(said.lines().any(is_told), "{said}");
}

/// By the same program, and over what an earlier build left.
fn it_is_built_for_another_world(project: &Project) {
    let source = project.folder.join("filter.c");
    let text = fs::read_to_string(&source).unwrap();
    let uses =
        "  filter_string_t key;\n  filter_string_set(&key, \"seen\");\n  shared_remove(&key);\n";
    let place = "  bool is_there =";
    assert!(text.contains(place));
    fs::write(&source, text.replace(place, &format!("{uses}{place}"))).unwrap();
    let output = project.build_with(&["--world", "filter-full"], &[]);
    assert!(output.status.success(), "{}", told(&output));
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(said.contains("lockgate:filter/shared@"), "{said}");
    fs::write(&source, text).unwrap();
    assert!(project.build());
    its_cases_pass(project);
}

/// The component that is there stays.
fn a_broken_program_changes_nothing(project: &Project) {
    let before = fs::read(project.component()).unwrap();
    fs::write(project.folder.join("filter.c"), "int broken(").unwrap();
    let output = project.run_build();
    assert_eq!(output.status.code(), Some(2), "{}", told(&output));
    assert!(told(&output).contains("filter.c:1:"), "{}", told(&output));
    assert_eq!(fs::read(project.component()).unwrap(), before);
}

fn only_those_with_the_field_pass(project: &Project) {
    let origin = Origin::saying("page");
    let proxy = project.serve(&origin, &project.yaml());
    for team in ["blue", "red", ""] {
        let answer = proxy.ask("/", &[("x-team", team)]);
        assert_eq!((answer.status, answer.text().as_str()), (200, "page"));
        assert_eq!(answer.header("x-checked"), Some("seen"));
        assert_eq!(origin.seen().header("x-team"), Some(team));
    }
    let stranger = proxy.get("/");
    assert_eq!(stranger.status, 403, "{}", stranger.text());
    assert_eq!(stranger.text(), "forbidden: no x-team\n");
    assert_eq!(stranger.header("content-type"), Some("text/plain"));
    assert_eq!(stranger.header("x-checked"), None);
    assert!(origin.seen_now().is_none());
}

fn a_bad_configuration_is_refused(project: &Project) {
    for (bad, found) in [
        ("{ mark: seen }", "`require`"),
        ("{ require: '' }", "found an empty string"),
        ("{ require: a, else: b }", "`else`"),
    ] {
        let file = project.folder.join("bad.yaml");
        fs::write(&file, project.with_config(bad)).unwrap();
        let output = lockgate(&["check"]).arg(&file).output().unwrap();
        let told = String::from_utf8(output.stdout).unwrap();
        assert_eq!(output.status.code(), Some(2), "{bad}: {told}");
        assert!(told.contains(found), "{bad}: {told}");
    }
}

fn answers_are_rewritten(project: &Project) {
    let origin = Origin::start(|seen| match seen.line.contains("/zipped") {
        true => {
            b"HTTP/1.1 200 OK\r\ncontent-encoding: gzip\r\ncontent-length: 5\r\n\r\nhello".to_vec()
        }
        false => chunked("hello, he", "llo world: hell"),
    });
    let proxy = project.serve(&origin, &project.yaml());
    let answer = proxy.get("/");
    assert_eq!(answer.text(), "good day, good day world: hell");
    assert_eq!(answer.header("content-length"), Some("30"));
    assert_eq!(proxy.get("/zipped").text(), "hello");
}

fn chunked(first: &str, second: &str) -> Vec<u8> {
    let chunk = |text: &str| format!("{:x}\r\n{text}\r\n", text.len());
    let (first, second) = (chunk(first), chunk(second));
    format!("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n{first}{second}0\r\n\r\n")
        .into_bytes()
}

fn requests_are_rewritten(project: &Project) {
    let origin = Origin::saying("hello");
    let yaml = project.with_config("{ find: \"\\\"a\\\"\", replace: '', in: request }");
    let proxy = project.serve(&origin, &yaml);
    let long = "\"a\"b".repeat(1_000);
    for (body, sent) in [
        ("say \"a\" twice: \"a\"", "say  twice: ".to_owned()),
        ("nothing of it", "nothing of it".to_owned()),
        (&*long, "b".repeat(1_000)),
    ] {
        let length = body.len();
        let request =
            format!("POST / HTTP/1.1\r\nhost: test\r\ncontent-length: {length}\r\n\r\n{body}");
        let answer = proxy.connect().send(request).answer();
        assert_eq!((answer.status, answer.text().as_str()), (200, "hello"));
        assert_eq!(String::from_utf8(origin.seen().body).unwrap(), sent);
    }
}

/// What `filter new` wrote.
struct Project {
    language: String,
    name: String,
    folder: PathBuf,
}

impl Project {
    fn new(language: &str, example: &str) -> Self {
        Self::named(language, example, example)
    }

    fn named(language: &str, example: &str, name: &str) -> Self {
        let top = Path::new(env!("CARGO_TARGET_TMPDIR")).join("languages");
        let beside = top.join(language);
        let folder = beside.join(name);
        fs::create_dir_all(&beside).unwrap();
        // What an earlier run left. None may be there.
        fs::remove_dir_all(&folder).ok();
        let arguments = ["filter", "new", name, "--lang", language];
        let mut new = lockgate(&arguments);
        let output = new.args(["--example", example]).current_dir(&beside);
        let output = output.output().unwrap();
        assert!(output.status.success(), "{}", told(&output));
        Self {
            language: language.to_owned(),
            name: name.to_owned(),
            folder,
        }
    }

    /// Whether there is a component now. Only tools may be missing.
    fn build(&self) -> bool {
        let output = self.run_build();
        if output.status.success() {
            return true;
        }
        let told = told(&output);
        let is_missing = output.status.code() == Some(2) && told.contains("missing: ");
        assert!(is_missing, "{}: {told}", self.language);
        let is_wanted = match self.language.as_str() {
            "js" => env::var_os("LOCKGATE_NODE_MODULES").is_some(),
            _ => env::var_os("CI_RUN").is_some(),
        };
        assert!(!is_wanted, "{told}");
        // Past what the test program keeps to itself.
        let mut stderr = std::io::stderr();
        writeln!(
            stderr,
            "filters in {} are not tested: {told}",
            self.language
        )
        .unwrap();
        false
    }

    fn run_build(&self) -> Output {
        match self.language.as_str() {
            "rust" => {
                // Versions that are here already; nothing is fetched that the
                // workspace did not need anyway, unless that fails.
                let lock = Path::new(env!("CARGO_MANIFEST_DIR")).join("../Cargo.lock");
                fs::copy(lock, self.folder.join("Cargo.lock")).unwrap();
                let offline = self.build_with(&[], &[("CARGO_NET_OFFLINE", "true")]);
                match offline.status.success() {
                    true => offline,
                    false => self.build_with(&[], &[]),
                }
            }
            "js" => {
                if let Some(modules) = env::var_os("LOCKGATE_NODE_MODULES") {
                    symlink(modules, self.folder.join("node_modules")).unwrap();
                }
                self.build_with(&[], &[])
            }
            _ => self.build_with(&[], &[]),
        }
    }

    fn build_with(&self, arguments: &[&str], variables: &[(&str, &str)]) -> Output {
        let mut build = lockgate(&["filter", "build"]);
        build.arg(&self.folder).args(arguments);
        build.envs(variables.iter().copied());
        // What the cargo of this test says about its own build.
        for outer in [
            "CARGO_ENCODED_RUSTFLAGS",
            "RUSTFLAGS",
            "RUSTC_WORKSPACE_WRAPPER",
            "CARGO_BUILD_TARGET",
        ] {
            build.env_remove(outer);
        }
        // What is the same for all projects is compiled once.
        let shared = self.folder.parent().unwrap();
        build
            .env("CARGO_TARGET_DIR", shared.join("target"))
            .env("ZIG_GLOBAL_CACHE_DIR", shared.join("zig"))
            .env("XDG_CACHE_HOME", self.folder.join("cache"))
            .output()
            .unwrap()
    }

    fn component(&self) -> PathBuf {
        self.folder.join(format!("{}.wasm", self.name))
    }

    fn yaml(&self) -> String {
        let yaml = fs::read_to_string(self.folder.join("lockgate.yaml")).unwrap();
        // Where the build has left what it compiled.
        let cache = self.folder.join("cache/lockgate");
        format!("cache_dir: {}\n{yaml}", cache.display())
    }

    /// The project's configuration with another one for the filter.
    fn with_config(&self, config: &str) -> String {
        let yaml = self.yaml();
        let line = yaml.lines().find(|line| line.starts_with("    config: "));
        yaml.replace(line.unwrap(), &format!("    config: {config}"))
    }

    fn serve(&self, origin: &Origin, yaml: &str) -> Proxy {
        let yaml = yaml
            .replace("127.0.0.1:8080", "127.0.0.1:0")
            .replace("127.0.0.1:9000", &origin.address.to_string());
        assert!(yaml.contains(&origin.address.to_string()), "{yaml}");
        let folder = Proxy::folder();
        let component = self.component();
        fs::copy(&component, folder.join(component.file_name().unwrap())).unwrap();
        Proxy::start_in(folder, &yaml)
    }
}

fn told(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}
