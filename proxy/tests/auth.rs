//! `lockgate:auth` over sockets: who passes, what the others are told, and
//! what origins learn of those who passed.

mod support;

use support::filtered::{check, counted, yaml};
use support::{Answer, Origin, Proxy};

/// Tokens by the key `0123456789abcdef0123456789abcdef`, of `ann` for `shop`,
/// until the year 2100; the second expired in 2001, the third is for `other`,
/// the fourth lacks the scope `write`. The fifth is by another key, the last by
/// none.
const GOOD: &str = "eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9.eyJzdWIiOiJhbm4iLCJpc3MiOiJodHRwczovL2xvZ2luLnRlc3QiLCJhdWQiOiJzaG9wIiwiZXhwIjo0MTAyNDQ0ODAwLCJzY29wZSI6InJlYWQgd3JpdGUifQ.0stZJ93krGJBXuJiqHV79U35lcfb40EG0F_l1BOhpDA";
const EXPIRED: &str = "eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9.eyJzdWIiOiJhbm4iLCJpc3MiOiJodHRwczovL2xvZ2luLnRlc3QiLCJhdWQiOiJzaG9wIiwiZXhwIjoxMDAwMDAwMDAwLCJzY29wZSI6InJlYWQgd3JpdGUifQ.gDyy_dwFsVMQ4T41j_7OAR4p7RCFehV0_m-OIfMH3iY";
const OTHER_AUDIENCE: &str = "eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9.eyJzdWIiOiJhbm4iLCJpc3MiOiJodHRwczovL2xvZ2luLnRlc3QiLCJhdWQiOiJvdGhlciIsImV4cCI6NDEwMjQ0NDgwMCwic2NvcGUiOiJyZWFkIHdyaXRlIn0.Vi10ATF3fqpmjSH2FR3Er34cgxSXtFLSdZWMjcj6xic";
const NO_SCOPE: &str = "eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9.eyJzdWIiOiJhbm4iLCJpc3MiOiJodHRwczovL2xvZ2luLnRlc3QiLCJhdWQiOiJzaG9wIiwiZXhwIjo0MTAyNDQ0ODAwLCJzY29wZSI6InJlYWQifQ.0JdKgkUyLuO3FK-yHaY2YKLoEP0nolDGUmY1H9gLGNc";
const FORGED: &str = "eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9.eyJzdWIiOiJhbm4iLCJpc3MiOiJodHRwczovL2xvZ2luLnRlc3QiLCJhdWQiOiJzaG9wIiwiZXhwIjo0MTAyNDQ0ODAwLCJzY29wZSI6InJlYWQgd3JpdGUifQ.0yTEciDQrDhhvEeHX-u7-hkGqhKUKJFGcsSUl3WOWKo";
const UNSIGNED: &str = "eyJhbGciOiJub25lIiwidHlwIjoiSldUIn0.eyJzdWIiOiJhbm4iLCJpc3MiOiJodHRwczovL2xvZ2luLnRlc3QiLCJhdWQiOiJzaG9wIiwiZXhwIjo0MTAyNDQ0ODAwLCJzY29wZSI6InJlYWQgd3JpdGUifQ.";

/// A key set with a key of each asymmetric algorithm.
const KEY_SET: &str = r#"
        jwks:
          keys:
            - {"kty": "RSA", "kid": "r", "alg": "RS256", "use": "sig", "n": "xUs_CnoEIk06lh4D2RPR2SMVYBBODcwM3VxRzH1fdWxb3AHCl-IsxFDQi8GVRpFqv8snUHoDG8PqQuVdH0xRo59647ul1JkWNbpPfPPJnuiLpRjb8zw7_5lvjuqF_sbTszl0Py7kSMwFdGhpDx8DAG5Pf5mmxxfbGf4fYmMBk4o6OAoYlcIQvlDaeaP4xT31ZFLQtxLzU3TVBOH8WSuJtcT-XGmMAnwB8cCwvuk7th_bwmNz_7VD1BE5tW43JF0C7PCVM0q5cZbW8WNwfAOsJrrr_GnZ4ryTeGuWdURpr5laG2X8urIgHIaXD4nMTcy0O4giQlV5Vf5HsVDRUGLaiw", "e": "AQAB"}
            - {"kty": "EC", "kid": "e", "crv": "P-256", "x": "FoalC6xWEokDoIXsBQGkcOLFgf6cmB754ZOXaqbCgSU", "y": "8OdgX5WGlUQjIPZDRAe1_83mSd5oCRtcf5bqC_Z6WP0"}
            - {"kty": "OKP", "kid": "d", "crv": "Ed25519", "x": "WPaKboSAFwOC9UZe4IN8SM5JEqizK-VVzGPiWU4q-NE"}
        issuer: https://login.test
        audience: shop
"#;
/// By these keys, of `ann`, until the year 2100; then by others of the same names.
const ASYMMETRIC: [(&str, &str); 3] = [
    (
        "eyJhbGciOiJSUzI1NiIsImtpZCI6InIiLCJ0eXAiOiJKV1QifQ.eyJzdWIiOiJhbm4iLCJpc3MiOiJodHRwczovL2xvZ2luLnRlc3QiLCJhdWQiOiJzaG9wIiwiZXhwIjo0MTAyNDQ0ODAwfQ.W5PBd6iOKdgUnD4vLLu_ys_Sz3zfgh-fi2PPjWa7qKzuHGR6D1vVjSRgzUCV3Zi-I85Ju64RjGk-SBI4zlxij2PdEhccyL5964abF17zIt4otwsGgr_fSAyfA_RYNi2Q-YsyYThM1_ID5r1ZKkZ6Ac6vISUKpB3gcDrnHY93Luk7bEoRPmZpNSr3nn-uOzEPMX82uirm7Qc7ZGruLEIbFX7r0lkCiuHChZyHUqcWGD1pyg7Ir-T9F5KQmlz5txVmVO0iUf2yoOthE6If7GgVjQIJaqEPUexFNXF_h_kT5c3QrD0CSrOWfZbDn5IDhd5HvjQyhZd7KX-ofTEiGWOVHg",
        "eyJhbGciOiJSUzI1NiIsImtpZCI6InIiLCJ0eXAiOiJKV1QifQ.eyJzdWIiOiJhbm4iLCJpc3MiOiJodHRwczovL2xvZ2luLnRlc3QiLCJhdWQiOiJzaG9wIiwiZXhwIjo0MTAyNDQ0ODAwfQ.M_gPQPWcuB8OR6niYCpqi_-E0oAHovGTR9UjLzj4I6dOzswxCNW9v6XoYzLNRcHEdluluSoAp1-maco6vW-Vke6aoy0wxXKu4HIAvwahKa_xv1_1YmHLOv9ZjQ0_uO1wK7AfAewSAjRZ5R-zTL4hmeXMRFk5wJHXyMht1qrgdUbBEDlN8YGQ4PJIDKJJFpFcC2nAvF2H_bI0WazXOu0GbHUrbek2rh2FZbKdxzAACB65o3RmyBYRuZYrpjRNQnkGePhJcq1_TRSUjT_Osn5HQeZ9LBhxKdaHWoY5gqUWAlC9URspvqe7TSXcQdKZELsWX-aZsuugrZFizZsLNrXENw",
    ),
    (
        "eyJhbGciOiJFUzI1NiIsImtpZCI6ImUiLCJ0eXAiOiJKV1QifQ.eyJzdWIiOiJhbm4iLCJpc3MiOiJodHRwczovL2xvZ2luLnRlc3QiLCJhdWQiOiJzaG9wIiwiZXhwIjo0MTAyNDQ0ODAwfQ.e0ViSIr4ThHPiMbP8YMAsWNkPVKD5j4R_Gdd6x9AkA1ijxahETo4Vy85S7qDCTGPEfTHwrwYpx0FyQWjJnAP5g",
        "eyJhbGciOiJFUzI1NiIsImtpZCI6ImUiLCJ0eXAiOiJKV1QifQ.eyJzdWIiOiJhbm4iLCJpc3MiOiJodHRwczovL2xvZ2luLnRlc3QiLCJhdWQiOiJzaG9wIiwiZXhwIjo0MTAyNDQ0ODAwfQ.n-bbni-jo38PGUa9XVBDL9iGUOkVxZsh0jd7D07my_mgh18iBQM4MPeIW5X22rkEkxoCdrsTBq3Thz2c6acNoQ",
    ),
    (
        "eyJhbGciOiJFZERTQSIsImtpZCI6ImQiLCJ0eXAiOiJKV1QifQ.eyJzdWIiOiJhbm4iLCJpc3MiOiJodHRwczovL2xvZ2luLnRlc3QiLCJhdWQiOiJzaG9wIiwiZXhwIjo0MTAyNDQ0ODAwfQ.IOOehGJJ2Cvpv9v1YsTp361pKXC6XOiGev5cSLRjYxaSf2z2A5nHzKIKLtZy7sDpa8o6XuKcO-2D3tKZ_juWDQ",
        "eyJhbGciOiJFZERTQSIsImtpZCI6ImQiLCJ0eXAiOiJKV1QifQ.eyJzdWIiOiJhbm4iLCJpc3MiOiJodHRwczovL2xvZ2luLnRlc3QiLCJhdWQiOiJzaG9wIiwiZXhwIjo0MTAyNDQ0ODAwfQ.xQQkbBatXgqMyeEDhtgFirFvBkbfpL3mgih1AbAVjfCvWDAAhZ544XYygWcyc2GEWPd0BrDpftfFAJjMtdBIDA",
    ),
];

/// All three ways, and a route `health` for which the filter is off.
const FILTERS: &str = "
  router:
    component: lockgate:router
    config:
      routes:
        - { name: health, match: { path: /health }, cluster: o }
        - { name: rest, cluster: o }
  auth:
    component: lockgate:auth
    config:
      realm: test
      identity_header: x-user
      api_keys:
        - { name: billing, key: billing-key }
        - { name: reports, key_sha256: ca1528e84b31100c41b6b43b54e723194e111f8cf4c09eaf1c934cb4f3f40600 }
      jwt:
        keys: [{ kid: k, alg: HS256, secret: 0123456789abcdef0123456789abcdef }]
        issuer: https://login.test
        audience: shop
        required_claims: { scope: write }
      basic:
        - { user: bob, salt: 0b8f6c0e54e1c1c7, password_sha256: ca2cbbf10e2cde3b495bde88384db234214b5cc8658c878ba498b0b7e28ee902 }
    routes: { health: off }
";
const REMOVED: &str = ", remove_request_headers: [x-user]";

fn guarded(origin: &Origin) -> Proxy {
    Proxy::start(&yaml("router, auth", REMOVED, FILTERS, &[("o", origin)]))
}

fn bearer(proxy: &Proxy, token: &str) -> Answer {
    proxy.ask("/", &[("authorization", &format!("Bearer {token}"))])
}

fn challenges(answer: &Answer) -> Vec<&str> {
    let named = answer.headers.iter();
    named
        .filter(|(name, _)| name == "www-authenticate")
        .map(|(_, value)| value.as_str())
        .collect()
}

#[test]
fn any_good_way_passes_and_the_origin_learns_who_it_was() {
    let origin = Origin::saying("in");
    let proxy = guarded(&origin);
    let passes = |fields: &[(&str, &str)], who: &str| {
        let answer = proxy.ask("/", fields);
        assert_eq!((answer.status, answer.text().as_str()), (200, "in"));
        assert_eq!(origin.seen().header("x-user"), Some(who));
    };
    passes(&[("x-api-key", "billing-key")], "billing");
    passes(&[("authorization", &format!("Bearer {GOOD}"))], "ann");
    passes(&[("authorization", "Basic Ym9iOm9wZW4gc2VzYW1l")], "bob");
    // One good way is enough, and what a client says of itself does not count.
    passes(
        &[
            ("x-api-key", "wrong"),
            ("authorization", &format!("Bearer {GOOD}")),
            ("x-user", "root"),
        ],
        "ann",
    );
}

#[test]
fn nobody_else_passes_and_each_way_has_its_challenge() {
    let origin = Origin::saying("in");
    let proxy = guarded(&origin);
    let nothing = proxy.get("/");
    assert_eq!(nothing.status, 401);
    let told = challenges(&nothing);
    assert!(
        told.iter().all(|told| told.contains("realm=\"test\"")),
        "{told:?}"
    );
    assert!(
        told.iter().any(|told| told.starts_with("Basic ")),
        "{told:?}"
    );
    assert!(
        told.iter().any(|told| told.starts_with("Bearer ")),
        "{told:?}"
    );

    for (name, value) in [
        ("x-api-key", "billing-kex"),
        ("x-api-key", ""),
        ("authorization", "Basic Ym9iOmNsb3NlZA=="),
        ("authorization", "Basic !"),
        ("authorization", "Bearer not.a.token"),
    ] {
        let answer = proxy.ask("/", &[(name, value)]);
        assert_eq!(answer.status, 401, "{name}: {value}");
        assert!(!challenges(&answer).is_empty(), "{name}: {value}");
    }
    for token in [EXPIRED, OTHER_AUDIENCE, FORGED, UNSIGNED] {
        let answer = bearer(&proxy, token);
        assert_eq!(answer.status, 401, "{token}");
        let told = challenges(&answer);
        let is_told = |told: &&str| told.contains("error=\"invalid_token\"");
        assert!(told.iter().any(is_told), "{told:?}");
    }
    assert!(origin.seen_now().is_none(), "nothing got through");
}

#[test]
fn tokens_of_asymmetric_keys_pass_and_those_of_other_keys_do_not() {
    let origin = Origin::saying("ok");
    let filters = format!(
        "  auth:\n    component: lockgate:auth\n    config:\n      identity_header: x-user\n      \
         jwt:{KEY_SET}"
    );
    let proxy = Proxy::start(&yaml(
        "auth",
        &format!(", cluster: o {REMOVED}"),
        &filters,
        &[("o", &origin)],
    ));
    for (good, forged) in ASYMMETRIC {
        assert_eq!(bearer(&proxy, good).status, 200, "{good}");
        assert_eq!(origin.seen().header("x-user"), Some("ann"));
        let (head, _) = good.rsplit_once('.').unwrap();
        let (_, signature) = forged.rsplit_once('.').unwrap();
        for bad in [forged, &format!("{head}.{signature}"), &format!("{head}.")] {
            assert_eq!(bearer(&proxy, bad).status, 401, "{bad}");
        }
    }
    assert_eq!(origin.seen_now(), None);
}

#[test]
fn a_good_token_without_a_required_claim_is_forbidden() {
    let origin = Origin::saying("in");
    let proxy = guarded(&origin);
    assert_eq!(bearer(&proxy, NO_SCOPE).status, 403);
    assert!(origin.seen_now().is_none());
}

#[test]
fn two_credentials_in_one_field_are_refused() {
    let origin = Origin::saying("in");
    let proxy = guarded(&origin);
    let twice = [("x-api-key", "billing-key"), ("x-api-key", "wrong")];
    assert_eq!(proxy.ask("/", &twice).status, 400);
    assert!(origin.seen_now().is_none());
}

#[test]
fn a_forged_identity_does_not_pass_where_the_filter_is_off() {
    let origin = Origin::saying("in");
    let proxy = guarded(&origin);
    let answer = proxy.ask("/health", &[("x-user", "root"), ("X-User", "root")]);
    assert_eq!(answer.status, 200, "nobody is asked who they are");
    assert_eq!(origin.seen().header("x-user"), None);
    assert_eq!(
        counted(&proxy, "lockgate_filter_calls_total", &[("filter", "auth")]),
        0
    );
}

#[test]
fn check_warns_of_an_identity_that_clients_could_forge() {
    let folder = Proxy::folder();
    let origin = Origin::saying("in");
    let said = |listener| {
        let yaml = yaml("router, auth", listener, FILTERS, &[("o", &origin)]);
        check(&folder, &yaml)
    };
    let warned = said("");
    assert_eq!(warned.code, 0, "{warned:?}");
    let warning = warned
        .text
        .lines()
        .find(|line| line.starts_with("warning: "));
    let warning = warning.expect("a warning");
    assert!(warning.contains("`x-user`"), "{warning}");
    assert!(warning.contains("remove_request_headers"), "{warning}");

    let quiet = said(REMOVED);
    assert_eq!(quiet.code, 0, "{quiet:?}");
    assert!(!quiet.text.contains("warning: "), "{quiet:?}");
    std::fs::remove_dir_all(folder).ok();
}

#[test]
fn a_configuration_without_any_way_to_pass_is_refused() {
    let folder = Proxy::folder();
    for config in ["", "    config: {}\n"] {
        let filters = format!("  auth:\n    component: lockgate:auth\n{config}");
        let checked = check(&folder, &yaml("auth", "", &filters, &[]));
        assert_eq!(checked.code, 2, "{checked:?}");
        assert!(checked.text.contains("checked.yaml:"), "{checked:?}");
    }
    std::fs::remove_dir_all(folder).ok();
}
