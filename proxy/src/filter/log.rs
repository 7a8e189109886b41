//! Lines that guests write, by `log`, standard output or standard error. They
//! are bounded and cleaned: a guest can neither flood the log nor forge a line, and
//! a secret that it may see is masked.

use std::borrow::Cow;

use tracing::Level;

use super::granted::GrantedSecrets;
use super::state::{HostState, Phase, Remark};

/// The `target` of every line of a guest.
pub const TARGET: &str = "lockgate::guest";

/// The `target` of lines about what was decided: those with the field of that name. Who
/// keeps them asks for them apart from everything else that guests say.
pub const AUDIT: &str = "audit";

/// The field that says which part of a configuration a warning is about.
const CONFIG_AT: &str = "config_at";
const MAX_REMARKS: usize = 100;

/// Lines left in the call under way.
#[derive(Debug, Default)]
pub struct LogBudget {
    lines_left: u32,
    dropped: u32,
}

impl LogBudget {
    /// Begins a call.
    pub fn start(&mut self, max_lines: u32) {
        self.lines_left = max_lines;
        self.dropped = 0;
    }

    /// Whether one more line may be written.
    fn take(&mut self) -> bool {
        match self.lines_left.checked_sub(1) {
            Some(left) => self.lines_left = left,
            None => self.dropped += 1,
        }
        self.dropped == 0
    }
}

/// Whether a line of this level would be kept: in the log, or as a remark on a
/// configuration, which is wanted however little is logged.
pub fn is_wanted(state: &HostState, level: Level) -> bool {
    let lines = &state.owner.granted.lines;
    // Of an audit or not: that is only known with its fields.
    let is_kept = || is_enabled(level, false) || is_enabled(level, true);
    lines.is_some() || is_kept() || may_be_remark(state, level)
}

/// The call for a line of this level and target, of which both are known to the compiler.
macro_rules! by_level {
    ($level:expr, $is_audit:expr, $call:ident) => {
        match ($level, $is_audit) {
            (Level::TRACE, false) => $call!(TARGET, Level::TRACE),
            (Level::DEBUG, false) => $call!(TARGET, Level::DEBUG),
            (Level::INFO, false) => $call!(TARGET, Level::INFO),
            (Level::WARN, false) => $call!(TARGET, Level::WARN),
            (Level::ERROR, false) => $call!(TARGET, Level::ERROR),
            (Level::TRACE, true) => $call!(AUDIT, Level::TRACE),
            (Level::DEBUG, true) => $call!(AUDIT, Level::DEBUG),
            (Level::INFO, true) => $call!(AUDIT, Level::INFO),
            (Level::WARN, true) => $call!(AUDIT, Level::WARN),
            (Level::ERROR, true) => $call!(AUDIT, Level::ERROR),
        }
    };
}

fn is_enabled(level: Level, is_audit: bool) -> bool {
    macro_rules! enabled {
        ($target:expr, $level:expr) => {
            tracing::enabled!(target: $target, $level)
        };
    }
    by_level!(level, is_audit, enabled)
}

/// Writes one line of the guest.
pub fn emit(state: &mut HostState, level: Level, message: &str, fields: &[(String, String)]) {
    if !state.log.take() {
        return;
    }
    let owner = state.owner.clone();
    let secrets = &owner.granted.secrets;
    let message = &*secrets.mask(message);
    let fields = masked(fields, secrets);
    note(state, level, message, &fields);
    let kept = &owner.granted.lines;
    let is_audit = fields.iter().any(|(key, _)| key == AUDIT);
    if kept.is_none() && !is_enabled(level, is_audit) {
        return;
    }
    let max_bytes = state.owner.limits.max_log_bytes;
    let message = clean(message, max_bytes);
    let fields = clean_fields(&fields, max_bytes.saturating_sub(message.len()));
    if let Some(lines) = kept {
        let level = level.as_str().to_lowercase();
        let fields = fields.map_or_else(String::new, |fields| format!(" {fields}"));
        return lines.keep(format!("{level}: {message}{fields}"));
    }
    let filter = &*state.owner.name;
    let view = state.call.view.as_deref();
    let view = view.filter(|_| state.call.phase != Phase::Job);
    let route = view.and_then(|view| view.decisions.route.as_deref());
    let trace_id = view.map(|view| &*view.trace_id);
    macro_rules! write {
        ($target:expr, $level:expr) => {
            tracing::event!(target: $target, $level, filter, route, trace_id, fields, "{message}")
        };
    }
    by_level!(level, is_audit, write)
}

/// The fields without secrets that the filter may see; most see none.
fn masked<'f>(
    fields: &'f [(String, String)],
    secrets: &GrantedSecrets,
) -> Cow<'f, [(String, String)]> {
    if !secrets.may_see_any() {
        return Cow::Borrowed(fields);
    }
    let mask = |text: &str| secrets.mask(text).into_owned();
    let fields = fields.iter();
    fields
        .map(|(key, value)| (mask(key), mask(value)))
        .collect()
}

/// Keeps a warning about a configuration for who wrote that.
fn note(state: &mut HostState, level: Level, message: &str, fields: &[(String, String)]) {
    if !may_be_remark(state, level) || state.remarks.len() >= MAX_REMARKS {
        return;
    }
    if let Some((_, at)) = fields.iter().find(|(key, _)| key == CONFIG_AT) {
        state.remarks.push(Remark {
            at: clean(at, 512),
            message: clean(message, 512),
        });
    }
}

fn may_be_remark(state: &HostState, level: Level) -> bool {
    state.call.phase == Phase::Outside && matches!(level, Level::WARN | Level::ERROR)
}

/// Ends a call: tells once what was not written.
pub fn finish(state: &mut HostState) {
    let dropped = std::mem::take(&mut state.log.dropped);
    if dropped == 0 {
        return;
    }
    let stats = state.owner.stats.of(state.worker);
    stats.log_lines_dropped.add(u64::from(dropped));
    if let Some(lines) = &state.owner.granted.lines {
        return lines.keep(format!("{dropped} more lines than one call may write"));
    }
    tracing::warn!(
        target: TARGET,
        filter = &*state.owner.name,
        dropped,
        "more log lines than one call may write"
    );
}

/// `key=value` pairs in one text, or none.
fn clean_fields(fields: &[(String, String)], max_bytes: usize) -> Option<String> {
    let mut text = String::new();
    for (key, value) in fields {
        if text.len() >= max_bytes {
            break;
        }
        let separator = if text.is_empty() { "" } else { " " };
        text.push_str(separator);
        text.push_str(&clean(key, max_bytes - text.len().min(max_bytes)));
        text.push('=');
        text.push_str(&clean(value, max_bytes - text.len().min(max_bytes)));
    }
    (!text.is_empty()).then_some(text)
}

/// Without control characters, and no longer than it may be.
pub fn clean(text: &str, max_bytes: usize) -> String {
    let mut cleaned = String::with_capacity(text.len().min(max_bytes));
    for character in text.chars() {
        if cleaned.len() + character.len_utf8() > max_bytes {
            cleaned.push('…');
            break;
        }
        match needs_escape(character) {
            true => cleaned.extend(character.escape_default()),
            false => cleaned.push(character),
        }
    }
    cleaned
}

/// Control characters, and those that turn text around on a terminal.
fn needs_escape(character: char) -> bool {
    character.is_control() || matches!(character, '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_cleaned_and_cut() {
        let check = |text: &str, max_bytes: usize, cleaned: &str| {
            assert_eq!(clean(text, max_bytes), cleaned, "{text:?}");
        };
        check("plain ü", 100, "plain ü");
        check("a\r\nb", 100, "a\\r\\nb");
        check("\u{1b}[2J", 100, "\\u{1b}[2J");
        check("\u{202e}x", 100, "\\u{202e}x");
        check("abcdef", 3, "abc…");
        check("üüü", 3, "ü…");
    }

    #[test]
    fn a_call_has_so_many_lines() {
        let mut budget = LogBudget::default();
        budget.start(2);
        assert_eq!(
            [budget.take(), budget.take(), budget.take()],
            [true, true, false]
        );
        assert_eq!(budget.dropped, 1);
        budget.start(1);
        assert!(budget.take());
    }
}
