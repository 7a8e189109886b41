//! Compiling apart: what a compiler that goes wrong costs.

use std::process::Command;

use super::super::compiler::compile_apart;

/// What comes of a component when this shell script is its compiler.
fn refused_by(script: &str) -> String {
    let mut command = Command::new("sh");
    command.args(["-c", script]);
    refused(command)
}

fn refused(compiler: Command) -> String {
    // More than a pipe holds.
    let bytes = vec![0; 1 << 20];
    compile_apart(compiler, &bytes).unwrap_err().to_string()
}

#[test]
fn a_compiler_that_dies_refuses_the_component() {
    let told = refused_by("cat > /dev/null; kill -s KILL $$");
    assert_eq!(
        told,
        "cannot be compiled: the compiler ended with signal: 9 (SIGKILL)"
    );
    let told = refused_by("kill -s XCPU $$");
    assert!(told.contains("more than 300 s of CPU time"), "{told}");
    let told = refused_by("kill -s ABRT $$");
    assert!(told.contains("want of memory"), "{told}");
    let told = refused_by("exit 101");
    assert!(told.contains("ended with exit status: 101"), "{told}");
}

#[test]
fn what_a_compiler_says_is_wrong_is_told() {
    let told = refused_by("cat > /dev/null; printf 'a hole at 7'; exit 2");
    assert_eq!(told, "is not a valid component: a hole at 7");
}

#[test]
fn a_compiler_that_is_not_there_is_told() {
    let told = refused(Command::new("/nowhere/lockgate"));
    assert!(
        told.contains("the compiler cannot be started: No such file"),
        "{told}"
    );
}
