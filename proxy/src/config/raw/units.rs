//! Durations, sizes and other small things as they are written.

use std::borrow::Cow;
use std::fmt;
use std::ops::RangeInclusive;
use std::time::Duration;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::Error;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::Value;

const SECOND: u64 = 1000;
pub(in crate::config) const MINUTE: u64 = 60 * SECOND;
pub(in crate::config) const HOUR: u64 = 60 * MINUTE;
const DURATION_UNITS: &[(&str, u64)] = &[("h", HOUR), ("m", MINUTE), ("s", SECOND), ("ms", 1)];

pub(in crate::config) const KIB: u64 = 1 << 10;
pub(in crate::config) const MIB: u64 = 1 << 20;
pub(in crate::config) const GIB: u64 = 1 << 30;
const SIZE_UNITS: &[(&str, u64)] = &[("GiB", GIB), ("MiB", MIB), ("KiB", KIB)];

/// A duration such as `250ms`, which should be from `MIN` to `MAX` milliseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::config) struct Time<const MIN: u64, const MAX: u64>(pub(in crate::config) u64);

/// A size such as `64KiB`, which should be from `MIN` to `MAX` bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::config) struct Size<const MIN: u64, const MAX: u64>(pub(in crate::config) u64);

/// A quantity is outside its range: what was found, what was wanted.
#[derive(Debug, PartialEq, Eq)]
pub(in crate::config) struct OutOfRange {
    pub(in crate::config) found: String,
    pub(in crate::config) wanted: String,
    /// The good value that is nearest to it.
    pub(in crate::config) nearest: u64,
}

impl<const MIN: u64, const MAX: u64> Time<MIN, MAX> {
    pub(in crate::config) fn in_range(self) -> Result<Duration, OutOfRange> {
        within(self.0, MIN..=MAX, DURATION_UNITS, "a duration").map(Duration::from_millis)
    }
}

impl<const MIN: u64, const MAX: u64> Size<MIN, MAX> {
    pub(in crate::config) fn in_range(self) -> Result<u64, OutOfRange> {
        within(self.0, MIN..=MAX, SIZE_UNITS, "a size")
    }
}

fn within(
    value: u64,
    range: RangeInclusive<u64>,
    units: &[(&str, u64)],
    what: &str,
) -> Result<u64, OutOfRange> {
    let shown = |value| written(value, units);
    match range.contains(&value) {
        true => Ok(value),
        false => Err(OutOfRange {
            found: format!("`{}`", shown(value)),
            wanted: format!(
                "{what} from {} to {}",
                shown(*range.start()),
                shown(*range.end())
            ),
            nearest: value.clamp(*range.start(), *range.end()),
        }),
    }
}

/// In the largest unit in which it is whole.
fn written(value: u64, units: &[(&str, u64)]) -> String {
    let unit = units
        .iter()
        .find(|(_, unit)| value != 0 && value.is_multiple_of(*unit));
    match unit {
        Some((name, unit)) => format!("{}{name}", value / unit),
        None => format!(
            "{value}{}",
            units
                .last()
                .map_or("", |(name, unit)| if *unit == 1 { *name } else { "" })
        ),
    }
}

/// Digits and a unit. What is too large to count is as much as can be counted,
/// and so outside every range.
fn read(text: &str, units: &[(&str, u64)]) -> Option<u64> {
    let digits = text
        .find(|c: char| !c.is_ascii_digit())
        .unwrap_or(text.len());
    let (number, name) = text.split_at(digits);
    let (_, unit) = units.iter().find(|(unit, _)| *unit == name)?;
    (!number.is_empty()).then(|| number.parse().unwrap_or(u64::MAX).saturating_mul(*unit))
}

impl<const MIN: u64, const MAX: u64> fmt::Display for Time<MIN, MAX> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&written(self.0, DURATION_UNITS))
    }
}

impl<const MIN: u64, const MAX: u64> Serialize for Time<MIN, MAX> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de, const MIN: u64, const MAX: u64> Deserialize<'de> for Time<MIN, MAX> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = Cow::<str>::deserialize(deserializer)?;
        read(&text, DURATION_UNITS)
            .map(Self)
            .ok_or_else(|| D::Error::custom("no duration"))
    }
}

impl<const MIN: u64, const MAX: u64> JsonSchema for Time<MIN, MAX> {
    fn schema_name() -> Cow<'static, str> {
        "Time".into()
    }

    fn inline_schema() -> bool {
        true
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        let (min, max) = (Self(MIN), Self(MAX));
        json_schema!({
            "type": "string",
            "pattern": "^[0-9]+(ms|s|m|h)$",
            "x-wanted": format!("a duration from {min} to {max}, such as `250ms`, `10s`, `5m` or `1h`"),
        })
    }
}

impl<const MIN: u64, const MAX: u64> Serialize for Size<MIN, MAX> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match SIZE_UNITS
            .iter()
            .any(|(_, unit)| self.0 != 0 && self.0.is_multiple_of(*unit))
        {
            true => serializer.collect_str(&written(self.0, SIZE_UNITS)),
            false => serializer.serialize_u64(self.0),
        }
    }
}

impl<'de, const MIN: u64, const MAX: u64> Deserialize<'de> for Size<MIN, MAX> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let value = Value::deserialize(deserializer)?;
        let bytes = match &value {
            // A number above `u64` is a float here, and outside every range.
            Value::Number(number) => Some(number.as_u64().unwrap_or(u64::MAX)),
            Value::String(text) => read(text, SIZE_UNITS),
            _ => None,
        };
        bytes.map(Self).ok_or_else(|| D::Error::custom("no size"))
    }
}

impl<const MIN: u64, const MAX: u64> JsonSchema for Size<MIN, MAX> {
    fn schema_name() -> Cow<'static, str> {
        "Size".into()
    }

    fn inline_schema() -> bool {
        true
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        let (min, max) = (written(MIN, SIZE_UNITS), written(MAX, SIZE_UNITS));
        json_schema!({
            "type": ["integer", "string"],
            "minimum": 0,
            "pattern": "^[0-9]+(KiB|MiB|GiB)$",
            "x-wanted": format!("a size from {min} to {max}: a number of bytes, or such as `64KiB` or `1MiB`"),
        })
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    type AnyTime = Time<1, HOUR>;
    type AnySize = Size<0, MIB>;

    #[test]
    fn durations_are_read_and_written() {
        for (text, millis, shown) in [
            ("250ms", 250, "250ms"),
            ("1000ms", 1000, "1s"),
            ("90s", 90_000, "90s"),
            ("60m", HOUR, "1h"),
            ("0s", 0, "0ms"),
            (
                "99999999999999999999999h",
                u64::MAX,
                "18446744073709551615ms",
            ),
        ] {
            let time: AnyTime = serde_json::from_value(json!(text)).expect(text);
            assert_eq!(
                (time.0, time.to_string().as_str()),
                (millis, shown),
                "{text}"
            );
        }
        for text in ["", "s", "1", "1 s", "1d", "-1s", "1.5s", "1S"] {
            assert!(
                serde_json::from_value::<AnyTime>(json!(text)).is_err(),
                "{text}"
            );
        }
    }

    #[test]
    fn sizes_are_read_and_written() {
        for (value, bytes, shown) in [
            (json!("64KiB"), 64 * KIB, json!("64KiB")),
            (json!(65536), 64 * KIB, json!("64KiB")),
            (json!(1000), 1000, json!(1000)),
            (json!(0), 0, json!(0)),
            (json!("0MiB"), 0, json!(0)),
            (json!(1e30), u64::MAX, json!(u64::MAX)),
        ] {
            let size: AnySize = serde_json::from_value(value.clone()).expect("a size");
            assert_eq!(size.0, bytes, "{value}");
            assert_eq!(serde_json::to_value(size).expect("JSON"), shown, "{value}");
        }
        for text in ["", "1", "1KB", "1kib", "KiB", "1.5MiB"] {
            assert!(
                serde_json::from_value::<AnySize>(json!(text)).is_err(),
                "{text}"
            );
        }
    }

    #[test]
    fn ranges_are_told() {
        let found = Time::<1, HOUR>(0).in_range().expect_err("too short");
        assert_eq!(found.found, "`0ms`");
        assert_eq!(found.wanted, "a duration from 1ms to 1h");
        let found = Size::<1024, MIB>(MIB + 1)
            .in_range()
            .expect_err("too large");
        assert_eq!(found.wanted, "a size from 1KiB to 1MiB");
        assert_eq!(Size::<0, MIB>(MIB).in_range(), Ok(MIB));
    }
}
