//! Texts that are meant to take long, take much, or panic.

use super::{check, check_with_listener, load, messages};

fn begins(text: &str, wanted: &str) {
    let found = messages(text);
    assert!(
        found.starts_with(wanted),
        "{}",
        found.chars().take(300).collect::<String>()
    );
}

#[test]
fn deep_nesting_is_refused() {
    let deep = "1:129: found too many lists and maps within each other, wanted at most 64";
    begins(&"- ".repeat(1 << 20), deep);
    begins(
        &"[".repeat(1 << 20),
        "1:256: found a syntax error: recursion limit exceeded",
    );
    begins(
        &"{a: ".repeat(1 << 20),
        "1:1021: found a syntax error: recursion limit exceeded",
    );
    begins(&": ".repeat(1 << 20), deep);
    let nested = format!("x: {}{}", "[".repeat(64), "]".repeat(64));
    begins(
        &nested,
        "1:67: found too many lists and maps within each other",
    );
    // Deep only where the aliases are written out.
    let mut aliases = format!("a0: &a0 {}{}\n", "[".repeat(60), "]".repeat(60));
    aliases.push_str("a1: [[[[[*a0]]]]]\n");
    begins(
        &aliases,
        "2:10: found too many lists and maps within each other",
    );
}

#[test]
fn alias_bombs_are_refused() {
    let mut bomb = "a0: &a0 [x,x,x,x,x,x,x,x,x]\n".to_owned();
    for i in 1..20 {
        let aliases = vec![format!("*a{}", i - 1); 9].join(",");
        bomb.push_str(&format!("a{i}: &a{i} [{aliases}]\n"));
    }
    let wanted = "found more values than a configuration may have, its aliases written out, wanted at most 500000 values in all";
    assert!(messages(&bomb).contains(wanted));
    let texts = format!(
        "a: &a {}\nb: [{}]\n",
        "x".repeat(1 << 20),
        "*a,".repeat(1000)
    );
    assert!(messages(&texts).contains(wanted));
    assert!(messages(&format!("a:\n{}", "- b\n".repeat(600_000))).contains(wanted));
}

#[test]
fn many_mistakes_are_counted_and_some_are_told() {
    let names: String = (0..300).map(|i| format!("a{i}: 1\n")).collect();
    let found = messages(&names);
    assert_eq!(found.lines().count(), 201);
    assert!(found.ends_with("\nand at least 101 more"), "{found}");
    let names: String = (0..20_000)
        .map(|i| format!("a{i}: ${{B{i}}} ${{C{i}}}\n"))
        .collect();
    assert_eq!(messages(&names).lines().count(), 201);
    let names = vec!["${A}"; 100_000].join(" ");
    check_with_listener(
        &format!("cache_dir: {names}"),
        &[
            "2:12: found `${A}`, a variable that is not set, wanted it set, or with a default: `${A:-default}`",
        ],
    );
    let names: String = (0..20_000).map(|i| format!("f{i},")).collect();
    let filters: String = (0..20_000)
        .map(|i| format!("  g{i}: {{ component: 'lockgate:g' }}\n"))
        .collect();
    let text = format!(
        "listeners: [{{ name: a, address: '1.1.1.1:1', filters: [{names}] }}]\nfilters:\n{filters}"
    );
    assert_eq!(messages(&text).lines().count(), 201);
}

#[test]
fn long_texts_stay_short_in_messages() {
    let long = "x".repeat(1 << 20);
    check(
        &format!("listeners: [{{ name: a, address: '{long}' }}]\n"),
        &[&format!(
            "1:33: found `{}…`, wanted an IP address with a port, such as `0.0.0.0:8080`, `unix:/path`, or `systemd:NAME`",
            "x".repeat(60)
        )],
    );
    assert!(messages(&format!("{long}: 1")).len() < 1000);
}

/// A text cut and changed at every place, by a fixed sequence of numbers.
#[test]
fn no_text_panics() {
    let good = include_str!("../reference/intro.md");
    let good: Vec<&str> = good
        .split("```yaml\n")
        .skip(1)
        .filter_map(|part| part.split("```").next())
        .collect();
    let mut state = 88_172_645_463_325_252_u64;
    let mut next = |below: usize| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        usize::try_from(state % (1 << 32)).expect("32 bits") % below
    };
    let pieces = [
        "{", "}", "[", "]", ":", "- ", "\n", "  ", "&a ", "*a", "!!int ", "${", "}", "'", "\"",
        "|\n", "? ", "#", "%", "\u{feff}", "\0", "\t", "---\n", "...", "<<: ", "null", "-1",
        "1e999", "ä", "~", "\r", ", ", "@", "`",
    ];
    for _ in 0..3000 {
        let mut text = good[next(good.len())].to_owned();
        for _ in 0..=next(6) {
            let mut at = next(text.len() + 1);
            while !text.is_char_boundary(at) {
                at -= 1;
            }
            match next(3) {
                0 => text.insert_str(at, pieces[next(pieces.len())]),
                1 => text.truncate(at),
                _ => {
                    let end = (at + next(20)).min(text.len());
                    if text.is_char_boundary(end) {
                        text.replace_range(at..end, pieces[next(pieces.len())]);
                    }
                }
            }
        }
        // Good or bad: all that counts is that it ends.
        let _ = load(&text).map_err(|mistakes| mistakes.to_string());
    }
}
