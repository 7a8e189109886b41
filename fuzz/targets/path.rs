//! Paths: what comes out is in normal form, and normal forms stay as they are.

#![no_main]

use std::borrow::Cow;

use http::uri::PathAndQuery;
use libfuzzer_sys::fuzz_target;
use lockgate_fuzz::all_path_rules;
use lockgate_fuzz::config::PathRules;
use lockgate_fuzz::http::path::normalize;

fuzz_target!(|target: &str| {
    for rules in all_path_rules() {
        if let Ok(normal) = normalize(target, &rules) {
            check_normal(&normal, &rules);
        }
    }
});

fn check_normal(normal: &str, rules: &PathRules) {
    let again = normalize(normal, rules).expect("what came out goes in");
    assert!(matches!(again, Cow::Borrowed(_)), "{normal} became {again}");
    let path = normal.split('?').next().unwrap_or(normal);
    assert!(path.starts_with('/'));
    assert!(!path.contains('\\') && !path.contains("%00"));
    assert!(!(rules.merge_slashes && path.contains("//")), "{normal}");
    assert!(
        path.split('/')
            .all(|segment| segment != "." && segment != ".."),
        "{normal}"
    );
    if normal.len() < usize::from(u16::MAX) {
        normal.parse::<PathAndQuery>().expect("the type takes it");
    }
}
